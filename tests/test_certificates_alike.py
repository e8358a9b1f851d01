"""The short way to a certificate says what the long way says, or nothing."""

from __future__ import annotations

import random
import warnings
from base64 import b64decode, encodebytes
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cryptography_vectors
import pytest

from meshes import NOW, ROOT
from meshtrust.certificates import Certificate, parse_leaf
from meshtrust.certificates.alike import Alike
from meshtrust.certificates.der import EXTENSIONS, element, elements
from sandbox import Ca, Leaf
from sandbox.issuing import leaf_certificate, pem

if TYPE_CHECKING:
    from collections.abc import Callable

VECTORS = Path(cryptography_vectors.__file__).parent / "x509"
COMPARED = tuple(field.name for field in fields(Certificate) if field.name != "parsed")
MUTANTS = 20_000
BEGIN, END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"


def facts(text: str) -> dict[str, Any]:
    bundle = parse_leaf(text)
    return {name: getattr(one, name) for one in bundle.certificates for name in COMPARED} or {"broken": bundle.broken}

"""Parts of meshes for the tests of the sandbox itself, and short ways to look at what they became."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from sandbox import Ca, Mesh, Namespace
from sandbox.issuing import ca_certificate

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cryptography.x509 import Certificate

NOW = datetime(2026, 11, 24, 8, tzinfo=UTC)
ROOT = Ca(ends=timedelta(days=20))
CORPORATE = Ca(key="corporate", subject="O=Example,CN=root")
ISSUING = Ca(key="issuing", key_type="ec", subject="O=Example,CN=mesh")
STRANGE = Ca(key="strange", key_type="ec")
BANK = Namespace("bank")


def issued(ca: Ca) -> Certificate:
    return ca_certificate(ca, NOW)


def objects(mesh: Mesh, kind: str) -> dict[str, dict[str, Any]]:
    """By `namespace/name`."""
    return {
        f"{body['metadata'].get('namespace', '')}/{body['metadata']['name']}": body
        for body in mesh.objects()
        if body["kind"] == kind
    }


def texts(body: Mapping[str, Any]) -> dict[str, str]:
    return {key: base64.b64decode(value).decode() for key, value in body["data"].items()}


def ca_secret(mesh: Mesh, name: str = "istio-ca-secret") -> dict[str, str]:
    return texts(objects(mesh, "Secret")[f"istio-system/{name}"])

"""Files as users have them, and keys made for the occasion."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from meshtrust.manifests import Recording

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

TAKEN = 1_795_500_000  # 24 November 2026


class Read(Protocol):
    def __call__(self, *contents: bytes | str) -> Recording: ...


class Pack(Protocol):
    def __call__(self, files: Mapping[str, bytes | str], modified: int = TAKEN) -> bytes: ...


class Secret(Protocol):
    def __call__(self, name: str = "istio-ca-secret", **data: str) -> str: ...


@pytest.fixture
def recorded() -> Path:
    return Path(__file__).parent.parent / "recorded"


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Each content is written to a file of its own, whose name tells nothing, and given with `-f`."""

    def read_contents(*contents: bytes | str) -> Recording:
        paths = [tmp_path / f"given-{number}" for number in range(len(contents))]
        for path, content in zip(paths, contents, strict=True):
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        return Recording.read([str(path) for path in paths], io.BytesIO())

    return read_contents


@pytest.fixture
def pack() -> Pack:
    def packed(files: Mapping[str, bytes | str], modified: int = TAKEN) -> bytes:
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w:") as archive:
            for name, content in files.items():
                entry = tarfile.TarInfo(name)
                raw = content.encode() if isinstance(content, str) else content
                entry.size, entry.mtime = len(raw), modified
                archive.addfile(entry, io.BytesIO(raw))
        return gzip.compress(packed.getvalue())

    return packed


@pytest.fixture
def secret() -> Secret:
    def written(name: str = "istio-ca-secret", **data: str) -> str:
        metadata = {"name": name, "namespace": "istio-system"}
        body: dict[str, Any] = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data}
        return json.dumps(body) + "\n"

    return written


def _private(key: PrivateKeyTypes, form: PrivateFormat) -> bytes:
    return key.private_bytes(Encoding.PEM, form, NoEncryption())


_RSA = rsa.generate_private_key(65537, 2048)
_EC = ec.generate_private_key(ec.SECP256R1())
_KEYS = {
    "PKCS#1": _private(_RSA, PrivateFormat.TraditionalOpenSSL),
    "PKCS#8": _private(_RSA, PrivateFormat.PKCS8),
    "EC": _private(_EC, PrivateFormat.TraditionalOpenSSL),
    "EC in PKCS#8": _private(_EC, PrivateFormat.PKCS8),
    "Ed25519": _private(ed25519.Ed25519PrivateKey.generate(), PrivateFormat.PKCS8),
}


@pytest.fixture(params=_KEYS)
def each_key(request: pytest.FixtureRequest) -> bytes:
    return _KEYS[request.param]


@pytest.fixture
def key() -> bytes:
    return _KEYS["PKCS#1"]


@pytest.fixture
def public_key() -> bytes:
    return _RSA.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

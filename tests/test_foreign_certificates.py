"""Every certificate file of `cryptography_vectors`, put where a mesh keeps its own: no silence, no crash."""

from __future__ import annotations

import io
import json
from base64 import b64decode, b64encode, encodebytes
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cryptography_vectors
import pytest

from judging import judged
from meshes import CASES, istiod
from meshtrust.certificates import parse_pem
from meshtrust.manifests import Recording
from sandbox import Edit, Namespace

if TYPE_CHECKING:
    from meshtrust.report import Report

VECTORS = Path(cryptography_vectors.__file__).parent / "x509"
FILES = sorted(path for path in VECTORS.rglob("*") if path.is_file())


def as_pem(path: Path) -> str:
    """The file as a mesh would hold it: DER is wrapped, whatever it is."""
    held = path.read_bytes()
    if b"-----BEGIN" in held:
        return held.decode("latin-1")
    return f"-----BEGIN CERTIFICATE-----\n{encodebytes(held).decode()}-----END CERTIFICATE-----\n"


def read(objects: list[dict[str, Any]]) -> Report:
    listed = {"apiVersion": "v1", "kind": "List", "items": objects}
    return judged(Recording.read(["-"], io.BytesIO(json.dumps(listed).encode())))


def append(secret: dict[str, Any], text: str) -> None:
    held = b64decode(secret["data"]["root-cert.pem"])
    secret["data"]["root-cert.pem"] = b64encode(held + text.encode()).decode()


@cache
def healthy() -> str:
    return json.dumps(CASES["healthy-istiod"].mesh.objects())


def test_there_are_vectors_to_feed() -> None:
    assert len(FILES) > 1000


@pytest.mark.parametrize("folder", sorted({path.parent for path in FILES}), ids=lambda folder: folder.name)
def test_as_the_signer_none_is_passed(folder: Path) -> None:
    passed = []
    for path in (path for path in FILES if path.parent == folder):
        objects = json.loads(healthy())
        secret = next(o for o in objects if o["metadata"]["name"] == "istio-ca-secret")
        secret["data"]["ca-cert.pem"] = b64encode(as_pem(path).encode()).decode()
        if str(read(objects).status) != "critical":
            passed.append(path.name)
    assert passed == []


def test_as_further_roots_of_the_bundle_each_is_a_row() -> None:
    objects = CASES["healthy-plugged-in"].mesh.objects()
    secret = next(o for o in objects if o["metadata"]["name"] == "cacerts")
    bundles = [parse_pem(as_pem(path)) for path in FILES]
    text = "\n".join(as_pem(path) for path in FILES)
    append(secret, text)
    found = read(objects)
    good = {c.fingerprint for bundle in bundles for c in bundle.certificates}
    broken = sum(len(bundle.broken) for bundle in bundles)
    rows = [row for row in found.rows if "cacerts [root-cert.pem]" in row["place"]]
    assert good <= {row["fingerprint"] for row in rows}
    assert sum(1 for row in rows if row["role"] == "unread") == broken


def test_as_published_copies_each_is_called_out() -> None:
    namespaces = tuple(Namespace(f"n{number}") for number, _ in enumerate(FILES))
    edits = tuple(
        Edit(
            kind="ConfigMap",
            namespace=f"n{number}",
            name="istio-ca-root-cert",
            patch={"data": {"root-cert.pem": as_pem(path)}},
        )
        for number, path in enumerate(FILES)
    )
    found = read(istiod(namespaces=namespaces, edits=edits).objects())
    named = {problem.place.namespace for finding in found.findings for problem in finding.problems}
    assert {namespace.name for namespace in namespaces} <= named


def test_a_broken_block_among_ten_is_named_and_the_nine_are_judged() -> None:
    objects = CASES["healthy-plugged-in"].mesh.objects()
    secret = next(o for o in objects if o["metadata"]["name"] == "cacerts")
    good = [
        as_pem(path)
        for path in FILES
        if len(parse_pem(as_pem(path)).certificates) == 1 and not parse_pem(as_pem(path)).broken
    ][:9]
    blocks = [*good[:4], good[4].replace("MII", "MIX", 1), *good[5:]]
    append(secret, "".join(blocks))
    found = read(objects)
    rows = [row for row in found.rows if "cacerts [root-cert.pem]" in row["place"]]
    assert sum(1 for row in rows if row["fingerprint"]) == 9
    (problem,) = [p for f in found.findings if f.check.id == "certificates-read" for p in f.problems]
    assert problem.detail.startswith("block 6 of 10: ")

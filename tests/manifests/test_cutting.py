"""No private key is written, wherever it stands; the public one stands in its place."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from typing import TYPE_CHECKING

import pytest

from meshes import NOW
from meshtrust.certificates import parse_pem
from meshtrust.keys import carries_key
from meshtrust.manifests.cutting import CUT, without_key, without_keys
from meshtrust.mesh import names
from sandbox import Ca
from sandbox.issuing import ca_certificate, pem

if TYPE_CHECKING:
    from collections.abc import Callable


def encoded(content: bytes) -> str:
    return b64encode(content).decode()


def test_the_public_half_stands_where_the_private_one_stood(key: bytes, public_key: bytes) -> None:
    body = {"metadata": {"name": "cacerts"}, "data": {"ca-key.pem": encoded(key)}}
    cut = without_keys("Secret", body)
    assert b64decode(cut["data"]["ca-key.pem"]).strip() == public_key.strip()


def curve(key: bytes) -> bytes:
    """What `openssl ecparam -genkey` writes: the curve stands before the key."""
    return b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n" + key


@pytest.mark.parametrize(
    "surrounded", [lambda pem: pem, curve, lambda pem: b"\n" + pem.replace(b"\n", b"\r\n") + b"\n"]
)
def test_what_is_proven_public_stays_as_it_is(public_key: bytes, surrounded: Callable[[bytes], bytes]) -> None:
    held = {
        "ca-cert.pem": encoded(surrounded(pem([ca_certificate(Ca(), NOW)] * 2).encode())),
        "ca-key.pem": encoded(surrounded(public_key)),
        "istio-generated": "",
        "root-cert.pem": None,
        "ca-crl.pem": "Cg==",
    }
    assert without_keys("Secret", {"metadata": {"name": "cacerts"}, "data": held})["data"] == held


def block(label: str, body: str) -> str:
    return f"-----BEGIN {label}-----\n{body}\n-----END {label}-----"


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("cert", f"\n{CUT}\n"),
        (block("JUNK", "MIIE"), CUT),
        (block("CERTIFICATE", "MIIE"), block("CERTIFICATE", CUT)),
        (block("X509 CRL", "x: y\n\nMIIE"), block("X509 CRL", CUT)),
        ("-----BEGIN CERTIFICATE-----\nMIIE\n", f"-----BEGIN CERTIFICATE-----\n{CUT}\n"),
        (
            f"-----BEGIN CERTIFICATE-----\n{block('RSA PRIVATE KEY', 'MIIE')}",
            f"-----BEGIN CERTIFICATE-----\n{CUT}\n{CUT}",
        ),
    ],
)
def test_what_is_not_proven_public_is_cut(text: str, kept: str) -> None:
    body = {"metadata": {"name": "cacerts"}, "data": {"ca-cert.pem": encoded(text.encode())}}
    cut = b64decode(without_keys("Secret", body)["data"]["ca-cert.pem"]).decode()
    assert cut == kept
    assert parse_pem(text).broken
    assert parse_pem(cut).broken


def test_of_what_is_no_base64_nothing_is_kept() -> None:
    body = {"metadata": {"name": "cacerts"}, "data": {"ca-key.pem": "MIIE?"}, "stringData": {"ca-key.pem": "secret"}}
    assert without_keys("Secret", body) == {"metadata": {"name": "cacerts"}, "data": {"ca-key.pem": CUT}}


def test_of_a_secrets_annotations_stays_what_is_read(key: bytes) -> None:
    applied = {"metadata": {"annotations": {"x": "secret"}}, "data": {"ca-key.pem": encoded(key[40:]), "other": "c2Vj"}}
    annotations = {
        names.LAST_APPLIED: json.dumps(applied | {"stringData": {"tls.key": "secret", "ca-key.pem": ""}}),
        names.ACCOUNT_ANNOTATION: "default",
        "argocd.argoproj.io/tracking-id": "secret",
    }
    cut = without_keys("Secret", {"metadata": {"name": "cacerts", "annotations": annotations}})
    kept = cut["metadata"]["annotations"]
    assert json.loads(kept.pop(names.LAST_APPLIED)) == {
        "data": {"ca-key.pem": encoded(f"\n{CUT}\n".encode())},
        "stringData": {"tls.key": f"\n{CUT}\n", "ca-key.pem": ""},
    }
    assert kept == {names.ACCOUNT_ANNOTATION: "default", "argocd.argoproj.io/tracking-id": ""}


def test_what_of_a_secret_nobody_reads_is_left_out() -> None:
    body = {"metadata": {"name": "cacerts"}, "data": {"keystore.p12": "AAAA", "istio-generated": ""}}
    assert without_keys("Secret", body)["data"] == {"istio-generated": ""}


def test_the_environment_of_other_containers_is_left_out() -> None:
    def container(name: str) -> dict[str, object]:
        return {"name": name, "image": "x", "env": [{"name": "PASSWORD", "value": "secret"}]}

    cut = without_keys("Pod", {"spec": {"containers": [container("app"), container("discovery")]}})
    assert ["env" in one for one in cut["spec"]["containers"]] == [False, True]


@pytest.mark.parametrize("wrapped", range(5))
def test_wherever_a_key_stands_it_is_cut(each_key: bytes, wrapped: int) -> None:
    text = each_key.decode()
    places = (
        text,
        encoded(each_key),
        json.dumps({"data": {"ca-key.pem": encoded(each_key)}}),
        json.dumps({"a": [json.dumps({"b": text})]}),
        "log: " + text.replace("\n", "\\n"),
    )
    assert carries_key(places[wrapped].encode())
    cut = without_key({"held": [places[wrapped]]})
    assert not carries_key(json.dumps(cut).encode())
    assert text.splitlines()[1] not in json.dumps(cut)


def test_a_key_that_cannot_be_read_leaves_a_word() -> None:
    text = (
        "-----BEGIN PRIVATE KEY-----\n"
        + "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQ" * 3
        + "\n-----END PRIVATE KEY-----\n"
    )
    assert without_key(text).strip() == CUT


def test_what_holds_no_key_stays_as_it_is(public_key: bytes) -> None:
    held = {"a": [public_key.decode(), "PRIVATE KEY", 7, None, True, "e30=", "{"]}
    assert without_key(held) == held

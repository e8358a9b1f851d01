"""No private key is written, wherever it stands; the public one stands in its place."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode

import pytest

from meshtrust.manifests.cutting import CUT, without_key, without_keys
from meshtrust.manifests.keys import carries_key


def encoded(content: bytes) -> str:
    return b64encode(content).decode()


def test_the_public_half_stands_where_the_private_one_stood(key: bytes, public_key: bytes) -> None:
    body = {"metadata": {"name": "cacerts"}, "data": {"ca-key.pem": encoded(key), "ca-cert.pem": "Y2VydA=="}}
    cut = without_keys("Secret", body)
    assert b64decode(cut["data"]["ca-key.pem"]).strip() == public_key.strip()
    assert cut["data"]["ca-cert.pem"] == "Y2VydA=="


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

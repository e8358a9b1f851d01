"""A CA Secret, or a copy, that is not what it should be: each fault is named where it is, and nothing passes."""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING, Any

import pytest

from judging import levels, live, recorded
from meshes import NOW, ROOT, istiod
from sandbox import Edit
from sandbox.issuing import ca_certificate, key_pem, pem
from sandbox.server import serve

if TYPE_CHECKING:
    from pathlib import Path

    from meshtrust.report import Report

GOOD = pem([ca_certificate(ROOT, NOW)])


def encoded(text: str) -> str:
    return b64encode(text.encode()).decode()


def with_secret(data: dict[str, Any]) -> Edit:
    return Edit(kind="Secret", namespace="istio-system", name="istio-ca-secret", patch={"data": data})


def with_copy(text: str | None) -> Edit:
    return Edit(kind="ConfigMap", namespace="bank", name="istio-ca-root-cert", patch={"data": {"root-cert.pem": text}})


def details(found: Report) -> dict[str, list[str]]:
    return {
        finding.check.id: [f"{problem.place}: {problem.detail}" for problem in finding.problems]
        for finding in found.findings
        if finding.problems
    }


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"ca-cert.pem": encoded("hello")}, "no certificate in it"),
        ({"ca-cert.pem": encoded(GOOD[:300])}, "a certificate that begins and does not end"),
        ({"ca-cert.pem": encoded(key_pem("root"))}, "holds a private key, not a certificate"),
        ({"ca-cert.pem": "%%%"}, "not base64"),
        ({"ca-cert.pem": ""}, "empty"),
        ({"ca-cert.pem": None}, "empty"),
        ({"ca-cert.pem": encoded(" \n\n")}, "empty"),
        ({"ca-cert.pem": encoded("\x00\xff\x1b[31m")}, "no certificate in it"),
    ],
    ids=["not-pem", "half", "a-key", "not-base64", "empty", "null", "blank", "control-characters"],
)
def test_a_signer_that_is_no_certificate_is_critical(data: dict[str, Any], said: str, tmp_path: Path) -> None:
    found = recorded(istiod(edits=(with_secret(data),)), tmp_path)
    place = "Secret istio-system/istio-ca-secret [ca-cert.pem]"
    assert str(found.status) == "critical"
    assert details(found)["certificates-read"] == [f"{place}: {said}"]


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("", "there is no key"),
        (None, "there is no key"),
        (encoded("hello"), "it cannot be read as a key"),
        (encoded(GOOD), "it cannot be read as a key"),
        (encoded(key_pem("root")[:400]), "it cannot be read as a key"),
        (encoded(key_pem("strange")), "it is the key of another certificate"),
    ],
    ids=["empty", "null", "not-pem", "a-certificate", "half", "another"],
)
def test_a_key_that_does_not_belong_is_critical(key: str | None, said: str, tmp_path: Path) -> None:
    found = recorded(istiod(edits=(with_secret({"ca-key.pem": key}),)), tmp_path)
    assert levels(found)["key-matches"] == "critical"
    assert said in details(found)["key-matches"][0]


def test_a_secret_without_data_is_critical(tmp_path: Path) -> None:
    edit = Edit(kind="Secret", namespace="istio-system", name="istio-ca-secret", patch={"data": None})
    assert str(recorded(istiod(edits=(edit,)), tmp_path).status) == "critical"


@pytest.mark.parametrize("text", ["", None, "hello", GOOD[:300]])
def test_a_copy_that_is_no_certificate_is_critical_and_named_once(text: str | None, tmp_path: Path) -> None:
    found = recorded(istiod(edits=(with_copy(text),)), tmp_path)
    assert levels(found) == {"certificates-read": "critical"}
    assert len(details(found)["certificates-read"]) == 1


def test_a_private_key_that_is_published_is_called_out(tmp_path: Path) -> None:
    mesh = istiod(edits=(with_copy(GOOD + key_pem("root")),))
    place = "ConfigMap bank/istio-ca-root-cert [root-cert.pem]: holds a private key"
    with serve(mesh) as server:
        assert place in details(live(server))["key-hidden"]
    assert place in details(recorded(mesh, tmp_path))["key-hidden"]


@pytest.mark.parametrize(
    "text", [GOOD * 3, f"\n\n{GOOD}\r\n# end", GOOD.replace("\n", "\r\n")], ids=["thrice", "white-space", "crlf"]
)
def test_a_copy_is_compared_by_its_certificates_and_not_by_its_text(text: str, tmp_path: Path) -> None:
    assert levels(recorded(istiod(edits=(with_copy(text),)), tmp_path)) == {}


def test_an_object_of_an_unknown_shape_is_unknown(tmp_path: Path) -> None:
    edit = Edit(kind="Secret", namespace="istio-system", name="istio-ca-secret", patch={"data": {"ca-cert.pem": 17}})
    found = recorded(istiod(edits=(edit,)), tmp_path)
    assert str(found.status) in {"unknown", "critical"}
    assert "signer-valid" in levels(found)


def test_a_secret_of_ten_megabytes_is_read_in_its_place(tmp_path: Path) -> None:
    found = recorded(istiod(edits=(with_secret({"ca-cert.pem": encoded(GOOD + "# " + "x" * 10_000_000)}),)), tmp_path)
    assert levels(found) == {}

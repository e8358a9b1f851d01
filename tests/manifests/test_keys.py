"""A private key in a file that others may get to see is named, and not one letter of it."""

from __future__ import annotations

import io
import json
from base64 import b64encode
from typing import TYPE_CHECKING

import pytest

from meshtrust.keys import carries_key, keyless
from meshtrust.manifests import Recording
from meshtrust.objects import Ref

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from manifests.conftest import Pack, Read

POD = "apiVersion: v1\nkind: Pod\nmetadata: {name: istiod}\n"
RESOURCES = "bug-report/cluster/k8s-resources"
LABEL = 40  # letters that no label of a key has
KRTZ = "bug-report/istio/istio-system/istiod-1/debug/krtz"


def krtz(key: bytes) -> bytes:
    """A Secret in what istiod tells of its informers, inside a string, as its debug page prints it."""
    inner = {"kind": "Secret", "metadata": {"name": "istio-ca-secret"}, "data": {"ca-key.pem": b64encode(key).decode()}}
    return json.dumps({"gateway/informer/Secrets": [inner], "state": json.dumps({"inner": json.dumps(inner)})}).encode()


def wrapped(key: bytes, width: int = 76) -> bytes:
    letters = b64encode(key)
    return b"\n".join(letters[at : at + width] for at in range(0, len(letters), width))


FORMS: dict[str, Callable[[bytes], bytes]] = {
    "PEM": lambda key: key,
    "PEM with Windows' lines": lambda key: key.replace(b"\n", b"\r\n"),
    "PEM in a log": lambda key: b'2026-11-24 info using key "' + key.replace(b"\n", b"\\n") + b'"',
    "PEM in YAML": lambda key: b"key: |\n" + b"".join(b"        " + line for line in key.splitlines(keepends=True)),
    "PEM in JSON": lambda key: json.dumps({"key": key.decode()}).encode(),
    "PEM in JSON in JSON": lambda key: json.dumps({"key": json.dumps({"key": key.decode()})}).encode(),
    "base64": b64encode,
    "base64 one byte on": lambda key: b64encode(b"\n" + key),
    "base64 two bytes on": lambda key: b64encode(b"\r\n" + key),
    "base64 behind words": lambda key: b"ca-key.pem=/" + b64encode(key),
    "base64 in lines": wrapped,
    "base64 in lines in JSON": lambda key: json.dumps(wrapped(key, 64).decode()).encode(),
    "base64 in JSON": krtz,
}


@pytest.mark.parametrize("form", FORMS)
def test_a_key_is_found_in_every_form(each_key: bytes, form: str) -> None:
    assert carries_key(b"\x00" * 1000 + FORMS[form](each_key) + b"\x00" * 1000)


@pytest.mark.parametrize("form", FORMS)
def test_a_key_in_a_text_to_be_shown_is_cut_out_in_every_form(each_key: bytes, form: str) -> None:
    text = FORMS[form](each_key).decode()
    lines = [line for line in text.replace("\\n", "\n").split() if len(line) > LABEL] + each_key.decode().split()[3:-3]
    for said in (text, " ".join(text.split()), text[: len(text) * 2 // 3]):  # whole, in one line, its end cut off
        shown = keyless({"why": [f"it says {said}"]})["why"][0]
        assert not [line for line in lines if line in shown]
        assert "[cut: a private key]" in shown


def test_the_rest_of_a_key_is_cut_out_and_the_words_around_it_stay(each_key: bytes) -> None:
    text = each_key.decode()
    said = f"no path: {text[40:]} (may be old) beside {text[:90]}"
    assert keyless(said) == "no path:[cut: a private key]\n (may be old) beside [cut: a private key]"


@pytest.mark.parametrize("form", FORMS)
def test_what_is_no_private_key_is_left_alone(public_key: bytes, key: bytes, form: str) -> None:
    lines = key.splitlines(keepends=True)
    harmless = (public_key, lines[0] + b"[redacted]\n" + lines[-1], lines[0], lines[-1], lines[0] + public_key)
    assert [carries_key(FORMS[form](text)) for text in harmless] == [False] * len(harmless)


def test_an_archive_that_carries_the_key_of_the_ca_is_read_and_named(
    read: Read, tmp_path: Path, pack: Pack, key: bytes
) -> None:
    proxy = "bug-report/proxies/bank/ledger/config_dump?include_eds"
    recording = read(pack({RESOURCES: POD, KRTZ: krtz(key), proxy: '{"key": "[redacted]"}'}))
    assert recording.holds("Pod")
    assert recording.exposed == (Ref("File", "", str(tmp_path / "given-0"), KRTZ),)


def test_an_unpacked_archive_is_searched_as_well(tmp_path: Path, key: bytes) -> None:
    for name, content in {RESOURCES: POD.encode(), KRTZ: krtz(key), "elsewhere/ca-key.pem": key}.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
    recording = Recording.read([str(tmp_path)], io.BytesIO())
    assert recording.exposed == (Ref("File", "", str(tmp_path / KRTZ)),)


def test_the_data_of_a_secret_is_where_a_key_belongs(read: Read, key: bytes) -> None:
    data = {"ca-key.pem": b64encode(key).decode()}
    applied = {"kubectl.kubernetes.io/last-applied-configuration": json.dumps({"kind": "Secret", "data": data})}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a", "annotations": applied}, "data": data}
    written = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "b"}, "stringData": {"key": key.decode()}}
    typed = {"kind": "SecretList", "apiVersion": "v1", "items": [{"metadata": {"name": "c"}, "data": data}]}
    whole = {"kind": "List", "apiVersion": "v1", "items": [secret, written, typed]}
    recording = read(json.dumps(secret), json.dumps(written), json.dumps(typed), json.dumps(whole), f"- {secret}\n")
    assert recording.exposed == ()


@pytest.mark.parametrize(
    "outside",
    [
        lambda pem: {"kind": "ConfigMap", "data": {"key": pem}},
        lambda pem: {"kind": "ConfigMap", "data": {"key": b64encode(pem.encode()).decode()}},
        lambda pem: {"kind": "Secret", "metadata": {"name": "a", "annotations": {"backup": pem}}},
        lambda pem: {"kind": "Pod", "spec": {"containers": [{"name": "a", "env": [{"name": "KEY", "value": pem}]}]}},
        lambda pem: {"kind": "VaultKey", "apiVersion": "example.com/v1", "spec": {"key": pem}},
        lambda pem: {
            "kind": "ConfigMap",
            "metadata": {
                "name": "a",
                "annotations": {"kubectl.kubernetes.io/last-applied-configuration": json.dumps({"data": {"key": pem}})},
            },
        },
    ],
    ids=["ConfigMap", "base64", "annotation", "env", "another kind", "last-applied of a ConfigMap"],
)
def test_a_key_anywhere_else_is_exposed(
    read: Read, tmp_path: Path, key: bytes, outside: Callable[[str], dict[str, object]]
) -> None:
    item = {"apiVersion": "v1", "metadata": {"name": "a"}, **outside(key.decode())}
    place = Ref("File", "", str(tmp_path / "given-0"))
    assert read(json.dumps(item)).exposed == (place,)
    assert read(json.dumps({"kind": "List", "items": [item]})).exposed == (place,)


def test_the_recorded_states_carry_no_key(recorded: Path) -> None:
    assert not [path.name for path in recorded.iterdir() if carries_key(path.read_bytes())]
    assert Recording.read([str(recorded)], io.BytesIO()).exposed == ()

"""The patch as a file, for those who apply it by other means: what it makes of the object, and when there is none."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from asking import kubectl
from changed_meshes import HOME, SECRET, texts, wished, without_private_key
from istio_root.transition.wish import Verb
from meshes import ROOT, STRANGE, certificate_of, citadel, istiod
from meshtrust.errors import ToolError
from meshtrust.findings import Level
from meshtrust.render import Output, render
from planned import levels, live, read, recorded, writes
from restored_meshes import ALL as CASES
from sandbox import Authority, Ca, Edit, Proxy
from sandbox.issuing import key_pem, private_key
from sandbox.server import serve
from verified_meshes import EVERYTHING, dump

if TYPE_CHECKING:
    from pathlib import Path

    from sandbox.server import Server

MESH = istiod(proxies=EVERYTHING)
KEPT = without_private_key(MESH)
EC = replace(ROOT, key="ec", key_type="ec")


def ca_secret(server: Server, name: str = SECRET) -> dict[str, Any]:
    (body,) = [one for one in server.objects("Secret") if one["metadata"]["name"] == name]
    return body


def without_its_writing(body: dict[str, Any]) -> dict[str, Any]:
    """All of an object but who wrote it when, and its data."""
    told = {key: value for key, value in body["metadata"].items() if key not in {"managedFields", "resourceVersion"}}
    return {**body, "metadata": told, "data": None}


def emitted(path: Path) -> dict[str, Any]:
    (document,) = yaml.safe_load_all(path.read_text())
    assert isinstance(document, dict)
    return document


SHAPES = {
    "root-file-filled": istiod(),
    "root-file-empty": istiod(version="1.19.3"),
    "root-file-stale": istiod(edits=(texts(root_cert=certificate_of(replace(ROOT, serial=7))),)),
    "root-file-with-further-roots": istiod(edits=(texts(root_cert=certificate_of(STRANGE) + certificate_of(ROOT)),)),
    "several-that-sign": istiod(edits=(texts(ca_cert=certificate_of(ROOT) + certificate_of(STRANGE)),)),
    "a-previous-one-kept": CASES["restored-the-root-of-before"].mesh,
    "ec-key": istiod(ca=Authority(root=EC)),
    "citadel-1.0": citadel(version="1.0.6", parts=()),
    "generated-cacerts": CASES["a-generated-cacerts"].mesh,
}


@pytest.mark.parametrize("shape", SHAPES)
def test_kubectl_patch_makes_of_it_exactly_the_object_that_was_planned(shape: str, tmp_path: Path) -> None:
    path = tmp_path / "patch.yaml"
    name = "cacerts" if shape == "generated-cacerts" else SECRET
    with serve(SHAPES[shape]) as server:
        before = ca_secret(server, name)
        found = live(server, wished(emit=str(path), lifetime=CASES["longer-than-what-is-left"].wish.lifetime))
        assert writes(server) == []
        done = kubectl(server, "patch", "secret", name, "-n", HOME, "--type", "merge", "--patch-file", str(path))
        assert (done.returncode, done.stderr) == (0, "")
        after = ca_secret(server, name)
    patch = found.details["plan"]["patch"]
    assert after["data"] == before["data"] | patch["data"] != before["data"]
    assert after["data"]["ca-key.pem"] == before["data"]["ca-key.pem"]
    assert without_its_writing(after) == without_its_writing(before)
    assert found.verdict == f"the patch is in {path}, and nothing is written to the cluster"


def test_its_first_line_is_the_command_that_applies_it(tmp_path: Path) -> None:
    path = tmp_path / "patch.yaml"
    with serve(istiod()) as server:
        live(server, wished(emit=str(path)))
        command = path.read_text().splitlines()[0].removeprefix("# ").split()
        assert command[0] == "kubectl"
        assert kubectl(server, *command[1:]).returncode == 0
        assert levels(live(server)) == {"change-finished": "warning"}


def test_a_patch_that_came_too_late_is_refused_by_the_server(tmp_path: Path) -> None:
    path = tmp_path / "patch.yaml"
    with serve(istiod()) as server:
        live(server, wished(emit=str(path)))
        server.change("Secret", HOME, SECRET, {"metadata": {"labels": {"somebody": "was-here"}}})
        before = ca_secret(server)
        done = kubectl(server, "patch", "secret", SECRET, "-n", HOME, "--type", "merge", "--patch-file", str(path))
        assert done.returncode == 1
        assert "Conflict" in done.stderr or "object has been modified" in done.stderr
        assert ca_secret(server) == before


def test_the_file_holds_public_parts_alone(tmp_path: Path) -> None:
    path = tmp_path / "patch.yaml"
    recorded(MESH, tmp_path, wished(emit=str(path)))
    document = emitted(path)
    assert document.keys() == {"apiVersion", "kind", "metadata", "data"}
    assert document["metadata"].keys() == {"name", "namespace", "resourceVersion"}
    for text in document["data"].values():
        assert b"PRIVATE KEY" not in base64.b64decode(text)
    assert not any(line in path.read_text() for line in key_pem("root").splitlines()[1:-1])


@pytest.mark.parametrize("form", [PrivateFormat.TraditionalOpenSSL, PrivateFormat.PKCS8])
@pytest.mark.parametrize("ca", [ROOT, EC], ids=["rsa", "ec"])
def test_a_recording_without_the_key_is_signed_for_with_a_key_file(ca: Ca, form: PrivateFormat, tmp_path: Path) -> None:
    path, key = tmp_path / "patch.yaml", tmp_path / "ca-key.pem"
    key.write_bytes(private_key(ca.key, ca.key_type).private_bytes(Encoding.PEM, form, NoEncryption()))
    mesh = without_private_key(istiod(ca=Authority(root=ca)))
    found = recorded(mesh, tmp_path, wished(emit=str(path), key_file=str(key)))
    assert (levels(found), found.acted) == ({}, False)
    assert emitted(path)["data"] == found.details["plan"]["patch"]["data"]


def test_a_key_file_serves_where_the_recording_has_no_key_at_all(tmp_path: Path) -> None:
    path, key = tmp_path / "patch.yaml", tmp_path / "ca-key.pem"
    key.write_text(key_pem("root"))
    bare = Edit(kind="Secret", namespace=HOME, name=SECRET, patch={"data": {"ca-key.pem": ""}})
    found = recorded(istiod(edits=(bare,)), tmp_path, wished(emit=str(path), key_file=str(key)))
    assert levels(found) == {}
    assert emitted(path)["data"] == found.details["plan"]["patch"]["data"]


def test_without_a_key_file_a_recording_without_the_key_gives_no_patch(tmp_path: Path) -> None:
    path = tmp_path / "patch.yaml"
    with pytest.raises(ToolError, match="not written: a recording holds no key: --key-file names it"):
        recorded(KEPT, tmp_path, wished(emit=str(path)))
    assert not path.exists()


def wrong_keys() -> dict[str, bytes]:
    own, other = private_key("root"), private_key("strange")
    public = own.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    secret = BestAvailableEncryption(b"hunter2")
    return {
        "another": key_pem("strange").encode(),
        "encrypted": own.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, secret),
        "encrypted-as-openssl-did": own.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, secret),
        "of-another-and-encrypted": other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, secret),
        "public": public,
        "cut": key_pem("root").encode()[:-200],
        "a-certificate": certificate_of(ROOT).encode(),
        "empty": b"",
    }


@pytest.mark.parametrize("which", wrong_keys())
def test_a_key_file_that_does_not_fit_leaves_no_file_and_says_so_without_its_words(which: str, tmp_path: Path) -> None:
    path, key = tmp_path / "patch.yaml", tmp_path / "ca-key.pem"
    content = wrong_keys()[which]
    key.write_bytes(content)
    found = recorded(KEPT, tmp_path, wished(emit=str(path), key_file=str(key)))
    told = render(found, Output.WIDE)
    assert levels(found) == {"root-signs": "critical"}
    assert (found.status, found.acted, path.exists()) == (Level.CRITICAL, True, False)
    (problem,) = (problem for finding in found.findings for problem in finding.problems)
    assert (str(problem.place), problem.hint) == (f"File {key}", "--key-file names the CA's key")
    assert problem.detail.startswith("the key cannot sign for O=cluster.local: ")
    words = [line for line in content.decode(errors="replace").splitlines() if len(line) > 40]
    assert not any(word in told for word in words)
    assert "hunter2" not in told


def test_a_root_that_no_key_makes_anew_is_not_blamed_on_the_key_file(tmp_path: Path) -> None:
    key = tmp_path / "ca-key.pem"
    key.write_text(key_pem("root"))
    found = recorded(CASES["a-root-that-is-no-ca"].mesh, tmp_path, wished(key_file=str(key)))
    places = {str(problem.place) for finding in found.findings for problem in finding.problems}
    assert levels(found)["root-signs"] == "critical"
    assert not any(place.startswith("File ") for place in places)


def test_a_key_file_that_is_no_text_is_an_error_that_shows_nothing_of_it(tmp_path: Path) -> None:
    key = tmp_path / "ca-key.der"
    key.write_bytes(private_key("root").private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()))
    with pytest.raises(ToolError) as refused:
        recorded(KEPT, tmp_path, wished(key_file=str(key)))
    assert refused.value.message == f"{key}: cannot be read as a key: not PEM"
    assert refused.value.__context__ is None


def test_a_key_file_that_is_not_there_is_an_error_of_its_own(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="cannot be read as a key: No such file or directory") as refused:
        recorded(KEPT, tmp_path, wished(key_file=str(tmp_path / "gone.pem")))
    assert refused.value.hint


@pytest.mark.parametrize("path", ["no/such/folder/patch.yaml", "."])
def test_a_path_that_cannot_be_written_is_an_error_with_a_hint(path: str, tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="cannot be written: ") as refused:
        recorded(MESH, tmp_path, wished(emit=str(tmp_path / path)))
    assert refused.value.hint == "--emit names a file"


TRANSITIONS = {name: case for name, case in CASES.items() if case.wish.verb is Verb.TRANSITION}
BLOCKED = [
    name
    for name, case in TRANSITIONS.items()
    if any(check != "root-loads" and level == "critical" for check, level in case.findings.items())
]
# Whoever applies the patch restarts by hand as well.
LOADED_BY_HAND = [name for name, case in TRANSITIONS.items() if "root-loads" in case.findings and "write" in case.steps]


@pytest.mark.parametrize("name", BLOCKED)
def test_a_blocked_plan_leaves_no_file(name: str, tmp_path: Path) -> None:
    path = tmp_path / "patch.yaml"
    case = CASES[name]
    found = recorded(case.mesh, tmp_path, replace(case.wish, emit=str(path)))
    assert (found.status, found.acted) == (Level.CRITICAL, True)
    assert found.remarks[-1] == f"{path}: not written"
    assert not path.exists()


@pytest.mark.parametrize("name", LOADED_BY_HAND)
def test_a_patch_for_what_never_loads_it_while_it_runs_is_written_and_the_restart_left_to_hands(
    name: str, tmp_path: Path
) -> None:
    path = tmp_path / "patch.yaml"
    found = recorded(CASES[name].mesh, tmp_path, replace(CASES[name].wish, emit=str(path)))
    assert (levels(found), emitted(path)["data"]) == ({}, found.details["plan"]["patch"]["data"])


def test_a_blocked_plan_leaves_a_file_of_before_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "patch.yaml"
    path.write_text("mine\n")
    recorded(CASES["a-plugged-in-ca"].mesh, tmp_path, wished(emit=str(path)))
    assert path.read_text() == "mine\n"


def test_what_was_not_seen_keeps_the_file_from_being_written_until_that_is_accepted(tmp_path: Path) -> None:
    path = tmp_path / "patch.yaml"
    mesh = istiod(proxies=(Proxy("mad", "shop", answers="garbage"),))
    shut = recorded(mesh, tmp_path, wished(emit=str(path)))
    assert (shut.status, shut.acted, path.exists()) == (Level.UNKNOWN, True, False)
    opened = recorded(mesh, tmp_path, wished(emit=str(path), accept_unseen=True))
    assert (opened.status, opened.acted, path.exists()) == (Level.OK, False, True)
    (gap,) = [gap for finding in shut.findings if finding.check.id == "proxies-unharmed" for gap in finding.unseen]
    assert f"gone on without having seen: {gap.ref}: {gap.why}" in opened.remarks


def test_what_warns_is_told_beside_the_patch_and_stays_in_the_status(tmp_path: Path) -> None:
    path = tmp_path / "patch.yaml"
    mesh = replace(CASES["kept-by-fleet"].mesh, proxies=(Proxy("mad", "shop", answers="garbage"),))
    found = recorded(mesh, tmp_path, wished(emit=str(path), accept_unseen=True))
    assert (levels(found), found.status, path.exists()) == ({"secret-unkept": "warning"}, Level.WARNING, True)


def test_where_nothing_is_to_be_written_there_is_no_file(tmp_path: Path) -> None:
    path = tmp_path / "patch.yaml"
    for name in ("as-long-as-was-asked-for", "written-and-not-loaded"):
        with pytest.raises(ToolError, match="not written: there is nothing to write"):
            recorded(CASES[name].mesh, tmp_path, wished(emit=str(path)))
        assert not path.exists()


def test_a_recording_without_a_version_makes_a_patch_that_is_not_guarded_and_warns(tmp_path: Path) -> None:
    path = tmp_path / "patch.yaml"
    recording = dump(MESH, tmp_path / "mesh.json")
    listed = json.loads(recording.read_text())
    for one in listed["items"]:
        one["metadata"].pop("resourceVersion", None)
    recording.write_text(json.dumps(listed))
    found = read(recording, wished(emit=str(path)))
    assert levels(found) == {"secret-writable": "warning"}
    (finding,) = [one for one in found.findings if one.problems]
    assert finding.hints == (
        "it would overwrite whatever stands there by then: look at the Secret before you apply it",
    )
    assert "resourceVersion" not in emitted(path)["metadata"]
    assert levels(read(recording)) == {}  # no patch is asked for

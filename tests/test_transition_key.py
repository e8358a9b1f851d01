"""The private key of the CA: read to sign, whatever its form, and found nowhere afterwards."""

from __future__ import annotations

import base64
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from sandbox import Answer, Ca, Edit, Mesh
from sandbox.issuing import private_key
from transitions import (
    CA,
    HOME,
    OLD,
    SECRET,
    assert_whole,
    behind,
    certificate,
    command,
    environment,
    is_edition,
    istiod,
    lively,
    root,
    run,
    text,
    texts,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sandbox import Server

RSA = Ca(key="rsa-of-the-ca", starts=OLD.starts, ends=OLD.ends, identifier="sha1")
EC = Ca(key="ec-of-the-ca", key_type="ec", starts=OLD.starts, ends=OLD.ends, identifier="sha1")
TRADITIONAL, PKCS8 = PrivateFormat.TraditionalOpenSSL, PrivateFormat.PKCS8
FORMS = {
    "RSA PKCS#1": (RSA, TRADITIONAL, "RSA PRIVATE KEY"),
    "RSA PKCS#8": (RSA, PKCS8, "PRIVATE KEY"),
    "EC SEC 1": (EC, TRADITIONAL, "EC PRIVATE KEY"),
    "EC PKCS#8": (EC, PKCS8, "PRIVATE KEY"),
}
# A library that fails in a way nobody knows of, and tells what it was given.
BREAKS = """\
import runpy
from cryptography.hazmat.primitives import serialization

def breaks(given, *_, **__):
    raise RuntimeError(given)

serialization.load_pem_private_key = breaks
runpy.run_module("istio_root", run_name="__main__", alter_sys=True)
"""
_PIECE = 16  # characters or octets: none that is made of anything else looks like it
forms = pytest.mark.parametrize("form", FORMS)


def key_text(ca: Ca, form: PrivateFormat) -> str:
    return private_key(ca.key, ca.key_type).private_bytes(Encoding.PEM, form, NoEncryption()).decode()


def mesh(form: str) -> Mesh:
    ca, kind, title = FORMS[form]
    held = key_text(ca, kind)
    assert f"-----BEGIN {title}-----" in held
    return with_key(istiod(ca), held)


def with_key(described: Mesh, held: str) -> Mesh:
    edit = Edit(kind="Secret", namespace=HOME, name=CA, patch={"stringData": {"ca-key.pem": held}})
    return replace(described, edits=(*described.edits, edit))


def traces(ca: Ca) -> dict[str, bytes]:
    """All that a key could be recognized by, cut into pieces so that a part of it is found as well.

    Its octets, their hex and decimal, the lines of its PEM, and what a Secret holds; of the public half nothing.
    """
    key = private_key(ca.key, ca.key_type)
    found: dict[str, bytes] = {}
    for name, number in _numbers(key).items():
        octets = number.to_bytes(_length(number))
        written = {"octets": octets, "hex": octets.hex().encode(), "HEX": octets.hex().upper().encode()}
        for how, whole in {**written, "decimal": str(number).encode()}.items():
            found |= {f"{how} of {name} at {at}": piece for at, piece in _pieces(whole, 0, len(whole))}
    for form, title in ((TRADITIONAL, "its own form"), (PKCS8, "PKCS#8")):
        der = key.private_bytes(Encoding.DER, form, NoEncryption())
        pem = key.private_bytes(Encoding.PEM, form, NoEncryption())
        octets = _octets(key)
        begin = der.index(octets)
        end = begin + len(octets) if ca.key_type == "ec" else len(der)  # of RSA all that follows is private
        lines = list(_pieces(base64.b64encode(der), -(-begin // 3) * 4, end // 3 * 4))
        found |= {f"base64 of {title} at {at}": piece for at, piece in lines}
        begin, end = pem.index(lines[0][1]), pem.index(lines[-1][1]) + _PIECE
        stored = _pieces(base64.b64encode(pem), -(-begin // 3) * 4, end // 3 * 4)
        found |= {f"data of {title} at {at}": piece for at, piece in stored}
    return found


def _octets(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> bytes:
    """The private number as DER has it: of a fixed length for a curve, else without leading zeros."""
    number = _numbers(key)["d"]
    return number.to_bytes(32 if isinstance(key, ec.EllipticCurvePrivateKey) else _length(number))


def _length(number: int) -> int:
    return (number.bit_length() + 7) // 8


def _pieces(whole: bytes, begin: int, end: int) -> Iterator[tuple[int, bytes]]:
    for at in range(-(-begin // _PIECE) * _PIECE, end - _PIECE + 1, _PIECE):
        yield at, whole[at : at + _PIECE]


def _numbers(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> dict[str, int]:
    numbers: Any = key.private_numbers()
    if isinstance(key, rsa.RSAPrivateKey):
        return {name: getattr(numbers, name) for name in ("d", "p", "q", "dmp1", "dmq1", "iqmp")}
    return {"d": numbers.private_value}


def found_in(ca: Ca, places: dict[str, bytes]) -> list[tuple[str, str]]:
    wanted = traces(ca)
    return [(place, trace) for place, said in places.items() for trace, octets in wanted.items() if octets in said]


def everything_under(folder: Path) -> Iterator[tuple[str, bytes]]:
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            yield str(path), path.read_bytes()


def watched(server: Server, folder: Path, *args: str, program: Sequence[str] = tuple(command())) -> dict[str, bytes]:
    """Run a command line in a folder of its own, and give all that it said, wrote, was called with and sent."""
    home = {name: str(folder / name.lower()) for name in ("HOME", "TMPDIR")}
    for path in home.values():
        Path(path).mkdir(exist_ok=True)
    seen: dict[str, bytes] = {}
    begin = len(server.requests)

    def look(_: object) -> None:
        for name in ("cmdline", "environ"):
            about = Path(f"/proc/{process.pid}/{name}")
            if about.exists():
                seen[name] = seen.get(name, b"") + about.read_bytes()

    server.on(look, times=None)
    pipes: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen([*program, *args], cwd=folder, env={**environment(server), **home}, **pipes)
    out, err = process.communicate(timeout=120)
    sent = {
        f"request {number}": f"{one.path}{one.query}{one.headers}".encode() + one.body
        for number, one in enumerate(server.requests[begin:])
    }
    code = str(process.returncode).encode()
    return {"code": code, "stdout": out, "stderr": err, **seen, **dict(everything_under(folder)), **sent}


class TestForms:
    @forms
    def test_each_form_signs(self, form: str) -> None:
        ca, kind, _ = FORMS[form]
        with lively(mesh(form)) as server:
            ended = run(server)
            assert (ended.code, behind(server)) == (0, []), ended.words
            assert is_edition(root(server), certificate(ca))
            assert texts(server)["ca-key.pem"] == key_text(ca, kind)
            assert_whole(server)

    @pytest.mark.parametrize("wrong", ["another", "encrypted", "half", "none", "empty", "public"])
    def test_what_cannot_sign_blocks_and_is_not_shown(self, wrong: str) -> None:
        key = private_key(RSA.key, RSA.key_type)
        held = key_text(RSA, TRADITIONAL)
        texts_of = {
            "another": key_text(EC, TRADITIONAL),
            "encrypted": key.private_bytes(Encoding.PEM, PKCS8, BestAvailableEncryption(b"word")).decode(),
            "half": held[: len(held) // 2],
            "none": "no key at all",
            "empty": "",
            "public": key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode(),
        }
        with lively(with_key(istiod(RSA), texts_of[wrong])) as server:
            ended = run(server, accept_unseen=True)
            assert ended.code == 2, ended.words
            assert root(server) == certificate(RSA)
            said = ended.words.encode()
        assert found_in(RSA, {"words": said}) + found_in(EC, {"words": said}) == []


class TestNowhere:
    @forms
    @pytest.mark.parametrize("output", ["table", "json"])
    def test_a_whole_change_leaves_no_trace_of_it(self, form: str, output: str, tmp_path: Path) -> None:
        with lively(mesh(form)) as server:
            seen = watched(server, tmp_path, "transition", "--apply", "--yes", "-v", "-o", output)
            assert (seen["code"], b"PATCH " in seen["stderr"]) == (b"0", True), seen["stderr"]
            assert b"istio_root" in seen["cmdline"]
            assert any(b"previous-ca-cert.pem" in value for name, value in seen.items() if name.startswith("request"))
            assert found_in(FORMS[form][0], seen) == []

    @pytest.mark.parametrize("args", [("-o", "wide"), ("-o", "yaml", "-v"), ("-o", "name"), ("--emit", "patch.yaml")])
    def test_a_plan_shows_none_and_the_patch_of_emit_holds_none(self, args: tuple[str, ...], tmp_path: Path) -> None:
        with lively(mesh("RSA PKCS#1")) as server:
            seen = watched(server, tmp_path, "transition", *args)
            assert seen["code"] == b"0", seen["stderr"]
            assert (str(tmp_path / "patch.yaml") in seen) is ("--emit" in args)
            assert found_in(RSA, seen) == []

    def test_a_restore_does_not_even_read_it_to_sign(self, tmp_path: Path) -> None:
        with lively(mesh("EC SEC 1")) as server:
            run(server)
            seen = watched(server, tmp_path, "restore", "--apply", "--yes", "-v", "-o", "yaml")
            assert seen["code"] == b"0", seen["stderr"]
            assert found_in(EC, seen) == []

    def test_a_defect_with_the_key_in_hand_says_where_and_nothing_else(self, tmp_path: Path) -> None:
        with lively(mesh("RSA PKCS#1")) as server:
            program = [sys.executable, "-c", BREAKS]
            seen = watched(server, tmp_path, "transition", "--apply", "--yes", "-v", program=program)
        assert seen["code"] == b"3", seen["stderr"]
        assert re.search(rb"error: RuntimeError at \S+:\d+ - a defect of this program", seen["stderr"])
        assert b"Traceback" not in seen["stderr"]
        assert found_in(RSA, seen) == []

    def test_a_server_that_sends_it_back_in_a_refusal_is_not_quoted(self, tmp_path: Path) -> None:
        held = base64.b64encode(key_text(RSA, TRADITIONAL).encode()).decode()
        words = f'Secret "istio-ca-secret" is invalid: data: Invalid value: "{{\\"ca-key.pem\\":\\"{held}\\"}}"'
        with lively(mesh("RSA PKCS#1")) as server:
            server.faults.add(Answer(422, words), method="PATCH", path=SECRET)
            seen = watched(server, tmp_path, "transition", "--apply", "--yes", "-v", "-o", "json")
        assert seen["code"] == b"2", seen["stderr"]
        assert b"is invalid" in seen["stdout"] + seen["stderr"]
        assert found_in(RSA, seen) == []

    def test_an_interrupted_change_leaves_none_either(self, tmp_path: Path) -> None:
        with lively(mesh("RSA PKCS#8")) as server:
            server.on(lambda _: os.kill(_child(), 2), method="PATCH", path=SECRET)
            seen = watched(server, tmp_path, "transition", "--apply", "--yes", "-v", "-o", "json")
        assert seen["code"] == b"130", seen["stderr"]
        assert found_in(RSA, seen) == []

    @forms
    def test_the_search_would_find_a_part_of_it_and_takes_nothing_public_for_it(self, form: str) -> None:
        ca, kind, _ = FORMS[form]
        with lively(mesh(form)) as server:
            (body,) = (one for one in server.objects("Secret") if one["metadata"]["name"] == CA)
        stored = body["data"]["ca-key.pem"].encode()
        key = private_key(ca.key, ca.key_type)
        der = key.private_bytes(Encoding.DER, kind, NoEncryption())
        octets = _octets(key)
        for said in (stored, base64.b64decode(stored), der, octets[-31:], octets.hex().encode()[:31]):
            assert found_in(ca, {"somewhere": b"before " + said + b" after"})
        line = base64.b64decode(stored).splitlines()[-4 if ca is RSA else 1]
        assert found_in(ca, {"somewhere": line[-40:]})
        public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        assert found_in(ca, {"here": text(ca).encode(), "there": public, "stored": base64.b64encode(public)}) == []


def _child() -> int:
    """The process that this one has started and not waited for yet."""
    (child,) = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    return int(child)

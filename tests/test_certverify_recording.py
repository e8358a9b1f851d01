"""What --record writes: nothing that is not proven public, for its owner alone, and never at the verdict's cost."""

from __future__ import annotations

import json
import re
import subprocess
from base64 import b64decode, b64encode
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from meshes import NOW, RENEWED, ROOT, STRANGE, istiod
from restored_meshes import AFTER_A_CHANGE
from sandbox import Authority, Edit, Namespace, Proxy
from sandbox.issuing import key_pem
from sandbox.server import serve
from test_certverify_cli import Shell
from transitions import typed
from verified_meshes import CASES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


MESSY: Mapping[str, Callable[[bytes], bytes]] = {
    "as it should be": lambda pem: pem,
    "base64 of PEM": b64encode,
    "no first line": lambda pem: pem.split(b"\n", 1)[1],
    "no last line": lambda pem: pem.rsplit(b"-----END", 1)[0],
    "base64 of DER": lambda pem: b"".join(pem.splitlines()[1:-1]),
    "DER": lambda pem: b64decode(b"".join(pem.splitlines()[1:-1])),
    "a misspelt label": lambda pem: pem.replace(b"PRIVATE", b"PRIVAT"),
    "four dashes": lambda pem: pem.replace(b"-----", b"----"),
    "the label of a certificate": lambda pem: pem.replace(b"RSA PRIVATE KEY", b"CERTIFICATE"),
    "the label of a public key": lambda pem: pem.replace(b"RSA PRIVATE", b"PUBLIC"),
    "a certificate around it": lambda pem: b"-----BEGIN CERTIFICATE-----\n" + pem,
    "hex": lambda pem: b64decode(b"".join(pem.splitlines()[1:-1])).hex().encode(),
    "backwards": lambda pem: pem[::-1],
}


KEYS = (
    "ca-key.pem",
    "ca-cert.pem",
    "root-cert.pem",
    "ca-crl.pem",
    "tls.crt",
    "tls.key",
    "istio-generated",
    "previous-ca-cert.pem",
)


@pytest.mark.parametrize("slip", MESSY)
def test_what_of_a_secret_is_not_proven_public_is_not_recorded(shell: Shell, slip: str) -> None:
    secret = {"kind": "Secret", "namespace": "istio-system", "name": "istio-ca-secret"}
    wrong = MESSY[slip](key_pem("root").encode())
    mesh = istiod(edits=(Edit(**secret, patch={"data": dict.fromkeys(KEYS, b64encode(wrong).decode())}),))
    shell("-f", str(mesh.dump(shell.folder / "given.yaml")), "--stored", "--record", "mesh.yaml")
    assert revealed(shell.folder / "mesh.yaml", wrong) == []


OUTSIDE: Mapping[str, Callable[[str], dict[str, Any]]] = {
    "a namespace": lambda text: {"kind": "Namespace", "name": "shop", "patch": noted({"x.io/k": text})},
    "a webhook": lambda text: {
        "kind": "MutatingWebhookConfiguration",
        "name": "istio-sidecar-injector",
        "patch": noted({"x.io/k": text}),
    },
    "the CA's Secret": lambda text: {
        "kind": "Secret",
        "namespace": "istio-system",
        "name": "istio-ca-secret",
        "patch": noted({"x.io/k": text}),
    },
    "a copy of the root": lambda text: {
        "kind": "ConfigMap",
        "namespace": "shop",
        "name": "istio-ca-root-cert",
        "patch": {"data": {"root-cert.pem": text}},
    },
    "the settings of a proxy": lambda text: pod_edit(noted({"proxy.istio.io/config": f"key: {text}"})),
    "the arguments of a proxy": lambda text: pod_edit(of_proxy({"args": ["proxy", "sidecar", f"--key={text}"]})),
    "the environment of a proxy": lambda text: pod_edit(
        of_proxy({"env": [{"name": "PROXY_CONFIG", "value": json.dumps({"key": text})}]})
    ),
}


def noted(annotations: Mapping[str, str]) -> dict[str, Any]:
    return {"metadata": {"annotations": annotations}}


def of_proxy(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {"spec": {"containers": [{"name": "istio-proxy", **fields}]}}


def pod_edit(patch: Mapping[str, Any]) -> dict[str, Any]:
    (name,) = [name for namespace, name in ONE.pods() if namespace == "shop"]
    return {"kind": "Pod", "namespace": "shop", "name": name, "patch": patch}


ONE = istiod(proxies=(Proxy("web", "shop"),))


@pytest.mark.parametrize("slip", ["base64 of DER", "base64 of PEM", "as it should be"])
@pytest.mark.parametrize("place", OUTSIDE)
def test_a_key_without_a_label_is_recorded_nowhere(shell: Shell, place: str, slip: str) -> None:
    wrong = MESSY[slip](key_pem("root").encode())
    with serve(replace(ONE, edits=(Edit(**OUTSIDE[place](wrong.decode())),))) as server:
        shell("--record", "mesh.yaml", environment=server.environment)
    assert revealed(shell.folder / "mesh.yaml", wrong) == []


def revealed(recording: Path, wrong: bytes) -> list[int]:
    """Where of the octets some stand in a recording: as they are, in base64, or in base64 of it."""
    held = recording.read_text()
    assert "istio-ca-secret" in held
    texts = [held.replace("\\n", "")]
    for _ in range(2):
        runs = re.findall(r"[A-Za-z0-9+/]{24,}={0,2}", texts[-1])
        texts.append(
            "|".join(b64decode(run + "=" * (-len(run) % 4)).decode("latin-1") for run in runs if len(run) % 4 != 1)
        )
    searched = "".join(texts).replace("\n", "")
    plain = wrong.decode("latin-1").replace("\n", "")
    secret = range(len(plain) // 4, len(plain) * 3 // 4, 16)  # not the modulus alone, which is public
    return [at for at in secret if plain[at : at + 24] in searched]


def test_a_recording_is_for_its_owner(shell: Shell) -> None:
    (shell.folder / "mesh.yaml").touch(mode=0o644)
    shell("-f", shell.mesh("healthy"), "--record", "mesh.yaml")
    assert (shell.folder / "mesh.yaml").stat().st_mode & 0o777 == 0o600
    assert not list(shell.folder.glob("*.part"))


# Where a copy, a proxy that is asked and one that is not are wrong: none may hide or bring out another.
PARTED = istiod(
    ca=Authority(root=RENEWED),
    namespaces=(Namespace("bank", publishes=(STRANGE,)), Namespace("shop")),
    proxies=(Proxy("web", "shop", holds=(ROOT,)), Proxy("odd", "bank", holds=(STRANGE,)), Proxy("fine", "shop")),
)
NARROWED = (
    "deploy/web",
    "deploy/web --stored",
    "deploy/fine.shop",
    "-l app=web",
    "-n shop",
    "-n bank --live",
    "-n shop --stored",
    "--stored",
    "--live",
    "--public",
    "-i istio-system",
    "-n shop -r default",
)


@pytest.mark.parametrize("arguments", NARROWED)
@pytest.mark.parametrize("again", [False, True], ids=["alone", "with-the-same-arguments"])
def test_a_narrowed_run_and_its_recording_have_one_verdict(shell: Shell, arguments: str, *, again: bool) -> None:
    words = arguments.split()
    with serve(PARTED) as server:
        seen = shell(*words, "--record", "mesh.yaml", "-o", "json", environment=server.environment)
    told = shell("-f", "mesh.yaml", "-o", "json", *(words if again else ()))
    live, read = json.loads(seen.stdout), json.loads(told.stdout)
    said = [line for line in read["remarks"] if line.startswith("judged as recorded: ")]
    assert [line.partition(": ")[2].partition(" (")[0].split() for line in said] == ([] if again else [ordered(words)])
    read["remarks"] = [line for line in read["remarks"] if not line.startswith("judged as ")]
    assert (told.returncode, read) == (seen.returncode, live)


def ordered(words: list[str]) -> list[str]:
    """Halves before options, as the remark has them."""
    halves = [word for word in words if word in {"--stored", "--live"}]
    return [*halves, *(word for word in words if word not in halves)] if words[0].startswith("-") else words


@pytest.mark.parametrize("arguments", [("--stored", "--live"), ("-A",), ("deploy/odd",)])
def test_more_may_be_asked_of_a_narrowed_recording_and_what_it_lacks_is_unknown(
    shell: Shell, arguments: tuple[str, ...]
) -> None:
    with serve(PARTED) as server:
        shell("deploy/web", "--record", "mesh.yaml", environment=server.environment)
    found = json.loads(shell("-f", "mesh.yaml", "-o", "json", *arguments).stdout)
    assert "recorded was no more than: deploy/web" in found["remarks"]
    unknown = {row["place"].partition("-")[0] for row in found["rows"] if row["level"] == "unknown"}
    assert "Pod bank/odd" in unknown


def test_what_lies_beside_a_narrowed_recording_is_judged_with_it(shell: Shell) -> None:
    with serve(PARTED) as server:
        shell("--live", "deploy/fine", "--record", "mesh.yaml", environment=server.environment)
    assert shell("-f", "mesh.yaml").returncode == 0
    PARTED.dump(shell.folder / "all.yaml")
    told = shell("-f", "mesh.yaml", "-f", "all.yaml")
    assert (told.returncode, "  ConfigMap bank/istio-ca-root-cert [root-cert.pem]: " in told.stdout) == (2, True)


@pytest.mark.parametrize("wished", ["", "[]", "{", '{"targets": ["svc/web"]}', '{"selector": "a in"}', '{"stored": 1}'])
def test_a_narrowing_that_makes_no_sense_narrows_nothing(shell: Shell, wished: str) -> None:
    with serve(PARTED) as server:
        shell("--record", "mesh.yaml", environment=server.environment)
    recording = json.loads((shell.folder / "mesh.yaml").read_text())
    recording["metadata"]["annotations"]["meshtrust/wished"] = wished
    (shell.folder / "mesh.yaml").write_text(json.dumps(recording))
    told = shell("-f", "mesh.yaml", "-o", "json")
    found = json.loads(told.stdout)
    assert (told.returncode, len(found["rows"])) == (2, 9)
    assert not [line for line in found["remarks"] if "recorded:" in line]


@pytest.mark.parametrize("path", ["/no/such/folder/mesh.yaml", "-", ".", "/dev/null"])
def test_where_nothing_can_be_recorded_nothing_is_asked(shell: Shell, path: str) -> None:
    with serve(CASES["healthy"].mesh) as server:
        done = shell("--record", path, environment=server.environment)
        assert (done.returncode, done.stdout, done.stderr.count("\n"), server.requests) == (64, "", 1, ())
    assert done.stderr.endswith(" - --record names a file\n")
    assert not (shell.folder / "-").exists()


@pytest.mark.parametrize(
    ("name", "options", "code"),
    [
        ("healthy", (), 3),
        ("lost-identity", (), 2),
        ("lost-identity", ("--fail-on", "critical"), 2),
        ("healthy", ("-q",), 3),
    ],
)
def test_a_full_disk_does_not_lose_the_verdict(shell: Shell, name: str, options: tuple[str, ...], code: int) -> None:
    judged = ("-f", shell.mesh(name), "-o", "json", "--at", NOW.isoformat(), *options)
    done = subprocess.run(
        [
            "sh",
            "-c",
            'ulimit -f 0; exec "$@"',
            "sh",
            *shell.command(*judged, "--record", "mesh.yaml"),
        ],  # not one octet fits into a file
        capture_output=True,
        text=True,
        check=False,
        cwd=shell.folder,
        env={**shell.environment, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert (done.returncode, done.stdout) == (code, shell(*judged).stdout)
    assert done.stderr == "warning: mesh.yaml: cannot be written: File too large - --record names a file\n"
    assert not list(shell.folder.glob("mesh.yaml*"))


def test_what_a_change_has_kept_is_recorded_and_the_way_back_can_be_planned(tmp_path: Path) -> None:
    file = str(tmp_path / "mesh.yaml")
    with serve(AFTER_A_CHANGE) as server:
        assert typed(server, "--record", file, module="istio_certverify").returncode == 0
        lived = json.loads(typed(server, "restore", "-o", "json").stdout)
        planned = json.loads(typed(server, "restore", "-f", file, "-o", "json").stdout)
    assert (planned["status"], planned["findings"]) == ("ok", lived["findings"])

"""The command line of istio-certverify: what is printed where, the exit codes, --record, Ctrl-C."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from base64 import b64encode
from typing import TYPE_CHECKING

import pytest
import yaml

from meshes import CASES as CAS
from meshes import NOW, istiod
from sandbox import Account, Authority, Namespace, Proxy
from sandbox.issuing import key_pem
from sandbox.server import serve
from verified_meshes import CASES, dump, proxies

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FORMATS = ("table", "wide", "json", "yaml", "name")


class Shell:
    """Runs `istio-certverify` as a process of its own, in a place where no kubeconfig is found by chance."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {"HOME": str(folder), "PATH": os.environ["PATH"], "PYTHONWARNINGS": "error"}

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "istio_certverify", *arguments]

    def __call__(
        self, *arguments: str, environment: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*arguments),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            cwd=self.folder,
            env={**self.environment, **(environment or {})},
        )

    def mesh(self, name: str) -> str:
        return str(dump(CASES[name].mesh, self.folder / f"{name}.json"))


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


@pytest.mark.parametrize(("name", "code"), [("healthy", 0), ("unmoved-proxy", 1), ("lost-identity", 2), ("refused", 3)])
@pytest.mark.parametrize("output", FORMATS)
def test_the_exit_code_is_the_same_for_every_output(shell: Shell, name: str, code: int, output: str) -> None:
    done = shell("-f", shell.mesh(name), "-o", output)
    assert (done.returncode, done.stderr) == (code, "")


def test_the_envelope_keeps_its_keys(shell: Shell) -> None:
    envelope = json.loads(shell("-f", shell.mesh("unmoved-proxy"), "-o", "json").stdout)
    assert (envelope["version"], envelope["tool"], envelope["command"]) == (1, "istio-certverify", "verify")
    assert {key: type(value).__name__ for key, value in envelope["rows"][0].items()} == {
        "kind": "str",
        "place": "str",
        "trusts": "list",
        "signed": "bool",
        "not_after": "str",
        "moves_by": "str",
        "level": "str",
        "detail": "str",
        "holder": "str",
        "identity": "str",
        "owner": "str",
        "checks": "list",
    }


def test_yaml_says_what_json_says(shell: Shell) -> None:
    path, at = shell.mesh("unmoved-proxy"), ("--at", NOW.isoformat())
    as_json, as_yaml = (shell("-f", path, *at, "-o", form).stdout for form in ("json", "yaml"))
    assert yaml.safe_load(as_yaml) == json.loads(as_json)


def test_what_agrees_is_a_line_and_what_does_not_is_a_row(shell: Shell) -> None:
    lines = shell("-f", shell.mesh("unmoved-proxy")).stdout.splitlines()
    assert lines[1].startswith("live     Pod shop/old-")
    assert any(line.startswith("live     4 sidecars ") for line in lines)
    assert lines[-1].startswith("warning: checked 15 of 15, 1 has not moved yet; the last moves by ")
    assert "kubectl rollout restart deploy/old -n shop" in lines


def test_wide_has_a_row_for_everything(shell: Shell) -> None:
    text = shell("-f", shell.mesh("unmoved-proxy"), "-o", "wide").stdout
    assert sum(line.startswith(("live ", "stored ")) for line in text.splitlines()) == 15


def test_name_prints_each_object_with_a_problem_ready_for_a_loop(shell: Shell) -> None:
    done = shell("-f", shell.mesh("stale-copy"), "-o", "name")
    assert done.stdout == "configmap/istio-ca-root-cert -n bank\n"


@pytest.mark.parametrize(
    ("arguments", "pods"),
    [
        (("deploy/ledger",), {"ledger"}),
        (("deploy/ledger.bank", "ds/ztunnel"), {"ledger", "ztunnel"}),
        (("-n", "bank"), {"ledger", "vault"}),
        (("-l", "app=web"), {"web"}),
        (("-l", "app in (web,vault)", "-n", "shop"), {"web"}),
    ],
)
def test_arguments_narrow_the_proxies(shell: Shell, arguments: tuple[str, ...], pods: set[str]) -> None:
    envelope = json.loads(shell("-f", shell.mesh("healthy"), "-o", "json", *arguments).stdout)
    live = [row["place"].split("/")[1].split("-")[0] for row in envelope["rows"] if row["kind"] == "live"]
    assert set(live) == pods


def test_a_pod_is_named_as_istioctl_names_it(shell: Shell) -> None:
    mesh = CASES["healthy"].mesh
    namespace, name = next(place for place, proxy in mesh.pods().items() if proxy.name == "ledger")
    done = shell("-f", shell.mesh("healthy"), f"{name}.{namespace}", "-o", "json")
    assert [row["place"] for row in json.loads(done.stdout)["rows"]] == [f"Pod {namespace}/{name}"]


def test_a_name_that_nothing_bears_is_an_error_in_words(shell: Shell) -> None:
    done = shell("-f", shell.mesh("healthy"), "deploy/nobody")
    assert (done.returncode, done.stderr.startswith("error: no proxy is there for deploy/nobody")) == (3, True)


@pytest.mark.parametrize(
    "arguments",
    [
        ("svc/web",),
        ("--concurrency", "0"),
        ("--concurrency", "many"),
        ("--timeout", "soon"),
        ("-l", "a==" * 2),
        ("--wat",),
    ],
)
def test_a_wrong_command_line_is_64_in_one_line(shell: Shell, arguments: tuple[str, ...]) -> None:
    done = shell(*arguments)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (64, "", 1)


def test_waiting_on_a_recording_is_a_wrong_command_line(shell: Shell) -> None:
    assert shell("--wait", "-f", shell.mesh("healthy")).returncode == 64


def test_progress_is_for_a_terminal_only(shell: Shell) -> None:
    with serve(CASES["healthy"].mesh) as server:
        assert shell(environment=server.environment).stderr == ""


@pytest.mark.parametrize("name", ["healthy", "healthy-citadel", "lost-identity", "garbage", "left-of-citadel"])
def test_a_recording_gives_the_same_report(shell: Shell, name: str) -> None:
    with serve(CASES[name].mesh) as server:
        live = shell("--record", "mesh.yaml", "-o", "json", environment=server.environment)
    read = shell("-f", "mesh.yaml", "-o", "json")
    assert live.returncode == read.returncode
    seen, told = json.loads(live.stdout), json.loads(read.stdout)
    told["remarks"] = [line for line in told["remarks"] if not line.startswith("judged as of")]
    assert seen == told


def test_what_was_refused_is_refused_in_the_recording_as_well(shell: Shell) -> None:
    with serve(CASES["healthy"].mesh) as server:
        server.access.forbid("*", "pods/*", namespace="shop")
        server.access.forbid("list", "namespaces")
        server.access.forbid("*", "mutatingwebhookconfigurations")
        live = shell("--record", "mesh.yaml", "-o", "json", environment=server.environment)
    read = shell("-f", "mesh.yaml", "-o", "json")
    assert json.loads(live.stdout)["findings"] == json.loads(read.stdout)["findings"] != []


@pytest.mark.parametrize("era", ["istiod", "citadel"])
def test_no_private_key_is_in_any_output_or_recording(shell: Shell, era: str) -> None:
    mesh = (
        istiod(ca=Authority(applied=True), proxies=(Proxy("web", "shop"),))
        if era == "istiod"
        else CAS["healthy-citadel"].mesh
    )
    keys = [key_pem("root"), key_pem("leaf")]
    with serve(mesh) as server:
        shown = [
            done.stdout + done.stderr
            for form in FORMATS
            for done in [shell("-o", form, "-v", "--record", "mesh.yaml", environment=server.environment)]
        ]
    written = (shell.folder / "mesh.yaml").read_text()
    assert "istio-ca-secret" in written
    for text in (*shown, written):
        assert "PRIVATE" not in text
        assert not [key for key in keys if key.splitlines()[5] in text]
    for key in keys:
        for shift in range(3):
            assert b64encode(key[shift + 300 : shift + 600].encode()).decode()[4:-8] not in written


def test_the_pair_of_a_recorded_ca_can_still_be_judged(shell: Shell) -> None:
    with serve(CAS["other-key"].mesh) as server:
        shell("--record", "mesh.yaml", environment=server.environment)
    done = subprocess.run(
        [sys.executable, "-m", "istio_root", "expiry", "-f", "mesh.yaml", "-o", "json"],
        capture_output=True,
        text=True,
        check=False,
        cwd=shell.folder,
        env=shell.environment,
    )
    assert [finding["check"] for finding in json.loads(done.stdout)["findings"]] == ["key-matches"]


def test_a_recording_that_cannot_be_written_is_said(shell: Shell) -> None:
    done = shell("-f", shell.mesh("healthy"), "--record", "/no/such/folder/mesh.yaml")
    assert (done.returncode, done.stderr.startswith("error: /no/such/folder/mesh.yaml: cannot be written")) == (3, True)


def test_ctrl_c_gives_the_partial_report(shell: Shell) -> None:
    slow = tuple(Proxy("slow", "shop", answers="hangs") for _ in range(3))
    with serve(proxies(*slow)) as server:
        running = subprocess.Popen(
            shell.command("-o", "json"),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**shell.environment, **server.environment},
        )
        asked = 0
        while asked < 9:
            asked = sum(request.path.endswith("/portforward") for request in server.requests)
            time.sleep(0.05)
        time.sleep(0.5)
        running.send_signal(signal.SIGINT)
        output, errors = running.communicate(timeout=30)
    envelope = json.loads(output)
    assert (running.returncode, errors, envelope["status"]) == (130, "", "unknown")
    assert sum(row["level"] == "unknown" for row in envelope["rows"]) == 3
    assert sum(row["level"] == "ok" for row in envelope["rows"]) == 14


def test_help_explains_itself(shell: Shell) -> None:
    done = shell("--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert "kubectl istio-certverify --wait --timeout 15m" in done.stdout


def test_accounts_that_citadel_left_behind_are_counted_once(shell: Shell) -> None:
    teams = (Namespace("bank", accounts=(Account("a"), Account("b"))),)
    path = dump(istiod(namespaces=teams), shell.folder / "mesh.json")
    text = shell("-f", str(path), "--stored").stdout
    assert text.count("2 Secrets of type istio.io/key-and-cert are left of Citadel: legacy, ignored") == 1

"""`transition` and `restore` on the command line: what is printed, the exit code, and what is refused."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
import yaml

import meshes
from changed_meshes import HOME, SECRET
from meshes import NOW, ROOT, istiod
from meshtrust.certificates import parse_pem
from planned import writes
from restored_meshes import AFTER_A_CHANGE
from restored_meshes import ALL as CASES
from sandbox import Authority
from sandbox.issuing import key_pem
from sandbox.server import serve
from verified_meshes import EVERYTHING, dump

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sandbox import Mesh

MESH = istiod(proxies=EVERYTHING)
FORMATS = ("table", "wide", "json", "yaml", "name")


class Shell:
    """Runs `istio-root` as a process of its own, where no kubeconfig is found by chance."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {"HOME": str(folder), "PATH": os.environ["PATH"], "PYTHONWARNINGS": "error"}

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "istio_root", *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            cwd=self.folder,
            env=self.environment,
        )

    def recording(self, mesh: Mesh) -> str:
        return str(dump(mesh, self.folder / "mesh.json"))


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    shell = Shell(tmp_path_factory.mktemp("shell"))
    with serve(MESH) as server:
        shell.environment |= server.environment
        yield shell
        assert writes(server) == []


CODES = {
    "an-istiod": 0,
    "as-long-as-was-asked-for": 0,
    "clusters-of-one-root": 1,
    "a-plugged-in-ca": 2,
    "restored-the-root-of-before": 0,
    "restored-kept-by-helm": 1,
    "restored-none-kept": 2,
}


@pytest.mark.parametrize("name", CODES)
def test_the_exit_code_says_what_the_plan_is_worth(shell: Shell, name: str) -> None:
    case = CASES[name]
    done = shell(str(case.wish.verb), "-f", shell.recording(case.mesh))
    assert (done.returncode, done.stderr) == (CODES[name], "")
    assert done.stdout.splitlines()[-1].startswith(f"{case.status}: ")


def test_a_proxy_that_was_not_seen_is_exit_code_3(shell: Shell) -> None:
    done = shell("transition", "-f", str(MESH.dump(shell.folder / "without-answers.yaml")))
    assert (done.returncode, done.stderr) == (3, "")
    assert "unknown: not judged: proxies-unharmed, proxies-in-time\n" in done.stdout


def test_a_patch_that_was_not_written_fails_whatever_fail_on_says(shell: Shell) -> None:
    path = str(MESH.dump(shell.folder / "without-answers.yaml"))
    shut = shell("transition", "-f", path, "--emit", "patch.yaml", "--fail-on", "critical")
    assert (shut.returncode, (shell.folder / "patch.yaml").exists()) == (3, False)
    opened = shell("transition", "-f", path, "--emit", "patch.yaml", "--fail-on", "critical", "--accept-unseen")
    assert (opened.returncode, (shell.folder / "patch.yaml").exists()) == (0, True)


@pytest.mark.parametrize("output", FORMATS)
def test_the_exit_code_is_the_same_for_every_output(shell: Shell, output: str) -> None:
    done = shell("transition", "-f", shell.recording(CASES["kept-by-helm-label"].mesh), "-o", output)
    assert (done.returncode, done.stderr) == (1, "")


@pytest.mark.parametrize("verb", ["transition", "restore"])
@pytest.mark.parametrize("output", FORMATS)
def test_no_output_holds_the_key(cluster: Shell, verb: str, output: str) -> None:
    done = cluster(verb, "-o", output, "-v")
    lines = key_pem("root").splitlines()[1:-1]
    encoded = base64.b64encode(key_pem("root").encode()).decode()
    for told in (done.stdout, done.stderr):
        assert "PRIVATE KEY" not in told
        assert not any(line in told for line in lines)
        assert encoded[100:160] not in told


def test_quiet_prints_nothing_and_ends_with_the_same_code(cluster: Shell) -> None:
    for verb, code in (("transition", 0), ("restore", 2)):
        done = cluster(verb, "-q")
        assert (done.returncode, done.stdout, done.stderr) == (code, "", "")


def test_names_are_those_of_the_objects_with_a_problem(shell: Shell) -> None:
    done = shell("transition", "-f", shell.recording(CASES["a-copy-of-another-root"].mesh), "-o", "name")
    assert (done.returncode, done.stdout) == (2, "configmap/istio-ca-root-cert -n bank\n")


def test_json_and_yaml_hold_the_plan_as_data(shell: Shell) -> None:
    path = shell.recording(AFTER_A_CHANGE)
    as_json, as_yaml = (shell("restore", "-f", path, "-o", output) for output in ("json", "yaml"))
    found, other = json.loads(as_json.stdout), yaml.safe_load(as_yaml.stdout)
    assert found.keys() == other.keys()
    assert found["rows"] == other["rows"]
    plan = found["plan"]
    assert {key: plan[key] for key in ("verb", "stage", "expired", "writes", "mutual_tls")} == {
        "verb": "restore",
        "stage": "fresh",
        "expired": False,
        "writes": True,
        "mutual_tls": True,
    }
    assert {"old", "new", "patch", "moves_by"} <= plan.keys()
    certificate = {"fingerprint", "serial", "subject", "not_before", "not_after", "key", "subject_key_identifier"}
    assert certificate | {"made_of", "pem"} <= plan["old"].keys() == plan["new"].keys()
    (old,) = parse_pem(plan["old"]["pem"]).certificates
    assert old.fingerprint == plan["old"]["fingerprint"]
    assert found["rows"][0] == {
        "step": "write",
        "place": f"Secret {HOME}/{SECRET}",
        "what": "one guarded PATCH of ca-cert.pem, root-cert.pem, previous-ca-cert.pem",
        "waits": "the API server, then read back",
        "state": "planned",
    }


@pytest.mark.parametrize("act", [(), ("--apply", "--yes")], ids=["plan", "apply"])
def test_a_root_that_lasts_longer_than_a_new_one_would_is_left_alone(shell: Shell, act: tuple[str, ...]) -> None:
    with serve(CASES["longer-than-a-new-one-would"].mesh) as server:
        shell.environment |= server.environment
        done, table = shell("transition", *act, "-o", "json"), shell("transition", *act)
        assert writes(server) == []
    told = json.loads(done.stdout)
    assert (done.returncode, told["status"], told["rows"], told["findings"]) == (0, "ok", [], [])
    assert (told["plan"]["writes"], told["plan"]["new"], told["plan"]["patch"]) == (False, None, None)
    assert any("longer than a new one would" in one for one in told["remarks"])
    assert table.stdout.splitlines()[-1].startswith("ok: nothing to do, as of ")


def test_a_root_is_not_made_shorter(cluster: Shell) -> None:
    done = cluster("transition", "--lifetime", "365d", "--apply", "--yes")
    assert (done.returncode, "  -> give a longer --lifetime: " in done.stdout) == (2, True)
    assert "days left, and a new one would end sooner, on " in done.stdout
    assert "nothing is to be written" not in done.stdout  # it was asked for, and is refused: one of the two is said


def test_the_last_hours_of_a_root_are_told_with_their_minutes(shell: Shell) -> None:
    ends = Authority(root=replace(ROOT, ends=timedelta(hours=5, minutes=59, seconds=50)))
    plan = shell("transition", "-f", shell.recording(istiod(ca=ends)), "--at", NOW.isoformat())
    assert "Z (5h59m) " in plan.stdout


def test_one_step_is_one_and_writes_nothing_where_the_root_lasts(shell: Shell) -> None:
    with serve(CASES["longer-than-a-new-one-would"].mesh) as server:
        shell.environment |= server.environment
        done = shell("transition", "--wait")
    assert "ok: 1 step, nothing is to be written: --apply carries it out, as of " in done.stdout


def test_a_root_that_is_to_lose_its_identifier_is_not_made_shorter_by_that(shell: Shell) -> None:
    path = shell.recording(CASES["shorter-and-without-an-identifier"].mesh)
    done = shell("transition", "-f", path, "--key-identifier", "drop", "--lifetime", "3000d")
    assert (done.returncode, "  -> give a longer --lifetime: " in done.stdout) == (2, True)


def test_a_blocked_plan_has_the_same_keys(shell: Shell) -> None:
    fine, blocked = (
        json.loads(shell("transition", "-f", shell.recording(CASES[name].mesh), "-ojson").stdout)
        for name in ("an-istiod", "a-plugged-in-ca")
    )
    assert fine["plan"].keys() == blocked["plan"].keys()
    assert (blocked["plan"]["old"], blocked["plan"]["new"], blocked["plan"]["patch"]) == (None, None, None)
    assert blocked["findings"][0]["check"] == "ca-managed"


REFUSED = {
    "public": ("transition", "--public"),
    "restore-public": ("restore", "--public"),
    "namespace": ("transition", "-n", "bank"),
    "revision": ("restore", "-r", "canary"),
    "key-file-of-a-live-cluster": ("transition", "--key-file", "key.pem"),
    "apply-without-a-terminal": ("transition", "--apply"),
    "apply-and-emit": ("transition", "--apply", "--yes", "--emit", "patch.yaml"),
    "no-lifetime": ("transition", "--lifetime", "ten years"),
    "short-lifetime": ("transition", "--lifetime", "47h"),
    "long-lifetime": ("transition", "--lifetime", "31y"),
    "longer-lifetime": ("transition", "--lifetime", "10951d"),
    "negative-lifetime": ("transition", "--lifetime=-3650d"),
    "no-timeout": ("restore", "--timeout", "soon"),
    "unknown-wish-for-the-identifier": ("transition", "--key-identifier", "change"),
    "lifetime-of-a-restore": ("restore", "--lifetime", "3650d"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_honoured_is_refused_before_anything_is_asked(cluster: Shell, name: str) -> None:
    done = cluster(*REFUSED[name])
    assert (done.returncode, done.stdout) == (64, "")
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr
    assert not (cluster.folder / "patch.yaml").exists()


def test_a_recording_is_not_applied_to(shell: Shell) -> None:
    done = shell("transition", "-f", shell.recording(MESH), "--apply", "--yes")
    assert (done.returncode, done.stdout) == (64, "")
    assert "a recording cannot be changed" in done.stderr


def test_several_meshes_are_a_question_of_usage(shell: Shell) -> None:
    path = shell.recording(meshes.CASES["healthy-two-meshes"].mesh)
    assert shell("transition", "-f", path).returncode == 64
    assert shell("transition", "-f", path, "-i", "istio-system").returncode == 0

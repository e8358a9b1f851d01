"""The command line as a person or a script uses it: what is printed where, and the exit code."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import yaml

from meshes import CASES
from meshtrust import __version__
from sandbox.server import serve

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

FORMATS = ("table", "wide", "json", "yaml", "name")


class Shell:
    """Runs `istio-root` as a process of its own, in a place where no kubeconfig is found by chance."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {"HOME": str(folder), "PATH": os.environ["PATH"], "PYTHONWARNINGS": "error"}

    def __call__(
        self, *arguments: str, stdin: str = "", environment: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "istio_root", *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            cwd=self.folder,
            env={**self.environment, **(environment or {})},
        )

    def mesh(self, name: str) -> str:
        """The path of a recording of a mesh of `meshes`."""
        return str(CASES[name].mesh.dump(self.folder / f"{name}.yaml"))


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


@pytest.fixture
def cluster(shell: Shell) -> Iterator[Shell]:
    with serve(CASES["root-20-days"].mesh) as server:
        shell.environment |= server.environment
        yield shell


@pytest.mark.parametrize(
    ("name", "code"),
    [("healthy-istiod", 0), ("root-20-days", 1), ("stale-copy", 2), ("healthy-citadel", 0)],
)
@pytest.mark.parametrize("output", FORMATS)
def test_the_exit_code_is_the_same_for_every_output(shell: Shell, name: str, code: int, output: str) -> None:
    done = shell("expiry", "-f", shell.mesh(name), "-o", output)
    assert (done.returncode, done.stderr) == (code, "")


@pytest.mark.parametrize(
    ("name", "fail_on", "code"),
    [
        ("root-20-days", "warning", 1),
        ("root-20-days", "unknown", 0),
        ("root-20-days", "critical", 0),
        ("stale-copy", "critical", 2),
        ("stale-copy", "unknown", 2),
    ],
)
def test_a_verdict_below_fail_on_exits_with_0_and_stays_what_it_is(
    shell: Shell, name: str, fail_on: str, code: int
) -> None:
    done = shell("expiry", "-f", shell.mesh(name), "-ojson", f"--fail-on={fail_on}")
    assert done.returncode == code
    assert json.loads(done.stdout)["status"] == CASES[name].status


def test_unknown_is_3_and_below_critical_for_fail_on(shell: Shell) -> None:
    with serve(CASES["healthy-istiod"].mesh) as server:
        server.forbid("get", "secrets")
        assert shell("expiry", environment=server.environment).returncode == 3
        assert shell("expiry", "--fail-on", "unknown", environment=server.environment).returncode == 3
        assert shell("expiry", "--fail-on", "critical", environment=server.environment).returncode == 0


def test_the_envelope_keeps_its_keys(shell: Shell) -> None:
    envelope = json.loads(shell("expiry", "-f", shell.mesh("stale-copy"), "-o", "json").stdout)
    assert {key: type(value).__name__ for key, value in envelope.items()} == {
        "version": "int",
        "tool": "str",
        "command": "str",
        "read_at": "str",
        "status": "str",
        "counts": "dict",
        "rows": "list",
        "findings": "list",
        "remarks": "list",
        "not_asked": "list",
    }
    assert (envelope["version"], envelope["tool"], envelope["command"]) == (1, "istio-root", "expiry")
    assert envelope["counts"] == {"checked": 4, "unseen": 0}
    assert list(envelope["rows"][0]) == [
        "role",
        "place",
        "subject",
        "fingerprint",
        "serial",
        "not_before",
        "not_after",
        "seconds_left",
        "level",
        "subject_key_identifier",
        "key",
        "signature",
        "made_by",
    ]
    (finding,) = envelope["findings"]
    assert list(finding) == ["check", "level", "says", "problems", "unseen", "hint"]
    assert list(finding["problems"][0]) == ["place", "level", "detail"]


def test_yaml_says_what_json_says(shell: Shell) -> None:
    path = shell.mesh("stale-copy")
    at = ("--at", "2026-11-24T08:00:00Z")
    as_json, as_yaml = (shell("expiry", "-f", path, *at, "-o", form).stdout for form in ("json", "yaml"))
    assert yaml.safe_load(as_yaml) == json.loads(as_json)


def test_a_failure_has_the_same_envelope(shell: Shell) -> None:
    done = shell("expiry", "-o", "json", "--kubeconfig", "/no/such/file")
    envelope = json.loads(done.stdout)
    assert (done.returncode, envelope["status"], envelope["counts"]) == (3, "unknown", {"checked": 0, "unseen": 1})
    assert "/no/such/file" in envelope["findings"][0]["unseen"][0]["why"]
    assert done.stderr.startswith("error: ")


def test_name_prints_each_object_with_a_problem_ready_for_a_loop(shell: Shell) -> None:
    done = shell("expiry", "-f", shell.mesh("stale-copy"), "-o", "name")
    assert done.stdout == "configmap/istio-ca-root-cert -n bank\n"


def test_quiet_prints_nothing_and_tells_by_its_exit_code(shell: Shell) -> None:
    done = shell("expiry", "-f", shell.mesh("stale-copy"), "-q", "-o", "json")
    assert (done.returncode, done.stdout, done.stderr) == (2, "", "")


def test_no_headers_leaves_the_titles_out(shell: Shell) -> None:
    path = shell.mesh("healthy-istiod")
    assert shell("expiry", "-f", path).stdout.startswith("ROLE ")
    assert not shell("expiry", "-f", path, "--no-headers").stdout.startswith("ROLE ")


def test_a_recording_from_stdin_is_judged_like_a_file(shell: Shell) -> None:
    text = CASES["stale-copy"].mesh.dump(shell.folder / "mesh.yaml").read_text()
    done = shell("expiry", "-f", "-", "-o", "name", stdin=text)
    assert (done.returncode, done.stdout) == (2, "configmap/istio-ca-root-cert -n bank\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("expiry", "--bogus"), "No such option: --bogus"),
        (("expire",), "No such command 'expire'"),
        (("expiry", "extra"), "unexpected extra argument"),
        (("expiry", "--warn", "soon"), "'soon' is no threshold"),
        (("expiry", "--warn", "120%"), "'120%' is no threshold"),
        (("expiry", "--at", "yesterday"), "'yesterday' is no time"),
        (("expiry", "-o", "xml"), "'xml' is not one of"),
        (("expiry", "--request-timeout", "soon"), "'soon' is no duration"),
        (("expiry", "--quiet=maybe"), "neither true nor false"),
        (("expiry", "-o"), "requires an argument"),
    ],
)
def test_a_wrong_command_line_is_64_in_one_line(shell: Shell, arguments: tuple[str, ...], said: str) -> None:
    done = shell(*arguments)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (64, "", 1)
    assert done.stderr.startswith("error: ")
    assert said in done.stderr


@pytest.mark.parametrize("arguments", [(), ("--help",), ("-h",), ("expiry", "--help"), ("expiry", "-h")])
def test_help_explains_itself_and_is_no_error(shell: Shell, arguments: tuple[str, ...]) -> None:
    done = shell(*arguments)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Usage: istio-root")


def test_help_of_a_command_has_examples_and_exit_codes(shell: Shell) -> None:
    text = shell("expiry", "--help").stdout
    assert "Examples:\n    kubectl istio-root expiry\n" in text
    assert "Exit codes: 0 ok, 1 warning, 2 critical, 3 unknown" in text


@pytest.mark.parametrize("verb", ["transition", "restore"])
def test_help_of_a_verb_that_writes_has_its_own_exit_codes_and_time_for_the_proxies(shell: Shell, verb: str) -> None:
    text = shell(verb, "--help").stdout
    assert f"    kubectl istio-root {verb} --apply --wait --timeout 13h\n" in text
    assert "Exit codes: 0 done, or a plan that nothing hinders, 1 a plan with warnings," in text
    assert "Exit codes: 0 ok" not in text


def test_help_offers_only_what_a_command_takes(shell: Shell) -> None:
    refused = ("--revision", "--namespace", "--all-namespaces", "--public")
    offered = {
        verb: [name for name in refused if f" {name}" in shell(verb, "--help").stdout]
        for verb in ("expiry", "transition", "restore")
    }
    assert offered == {"expiry": list(refused), "transition": [], "restore": []}


@pytest.mark.parametrize("verb", ["transition", "restore"])
@pytest.mark.parametrize("options", [("-r", "canary"), ("--revision=canary",), ("-n", "bank"), ("--public",)], ids=str)
def test_what_help_does_not_offer_is_refused_in_words(shell: Shell, verb: str, options: tuple[str, ...]) -> None:
    done = shell(verb, *options, "-f", shell.mesh("healthy-istiod"))
    assert (done.returncode, done.stdout) == (64, "")
    assert verb in done.stderr
    assert "No such option" not in done.stderr


@pytest.mark.parametrize("arguments", [("--version",), ("expiry", "--version")])
def test_the_version_is_one_line(shell: Shell, arguments: tuple[str, ...]) -> None:
    done = shell(*arguments)
    assert (done.returncode, done.stdout) == (0, f"istio-root {__version__}\n")


def test_options_stand_on_either_side_of_the_verb(cluster: Shell) -> None:
    before, after = cluster("-oname", "expiry"), cluster("expiry", "-o=name")
    assert before.stdout == after.stdout == "secret/istio-ca-secret -n istio-system\n"


def test_verbose_says_each_request_on_stderr_and_never_a_body(cluster: Shell) -> None:
    done = cluster("expiry", "-v")
    lines = done.stderr.splitlines()
    assert len(lines) >= 5
    assert all(line.startswith("GET /") for line in lines)
    assert "BEGIN" not in done.stderr
    assert "LS0tLS1" not in done.stderr


def test_without_a_cluster_and_without_a_recording_it_says_what_it_wants(shell: Shell) -> None:
    done = shell("expiry")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (3, "", 1)
    assert "kubeconfig" in done.stderr


def test_a_time_may_be_given_and_is_said(shell: Shell) -> None:
    done = shell("expiry", "-f", shell.mesh("healthy-istiod"), "--at", "2099-01-01T00:00:00Z")
    assert done.returncode == 2
    assert "judged as of 2099-01-01T00:00:00Z" in done.stdout


def test_a_reader_that_goes_away_is_no_error(shell: Shell) -> None:
    shown = subprocess.run(
        [
            "sh",
            "-c",
            f"{shlex.quote(sys.executable)} -m istio_root expiry -o json -f '{shell.mesh('stale-copy')}' | head -1",
        ],
        capture_output=True,
        text=True,
        check=False,
        env=shell.environment,
        timeout=60,
    )
    assert (shown.stdout, shown.stderr) == ("{\n", "")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")  # noqa: PTH110 - a device
@pytest.mark.parametrize("arguments", [("expiry", "--help"), ("--version",), ("expiry", "-f", "mesh.yaml")])
def test_a_full_disk_is_said_in_one_line(shell: Shell, arguments: tuple[str, ...]) -> None:
    CASES["healthy-istiod"].mesh.dump(shell.folder / "mesh.yaml")
    done = subprocess.run(
        ["sh", "-c", 'exec "$0" -m istio_root "$@" >/dev/full', sys.executable, *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=shell.folder,
        env=shell.environment,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (
        3,
        "error: the output cannot be written: No space left on device\n",
    )


def test_a_recording_takes_no_options_of_a_connection(shell: Shell) -> None:
    done = shell("expiry", "-f", shell.mesh("healthy-istiod"), "--context", "prod")
    assert (done.returncode, done.stdout) == (64, "")
    assert "-f reads a recording" in done.stderr


def test_a_certificate_cannot_write_to_the_terminal(shell: Shell) -> None:
    done = shell("expiry", "-f", shell.mesh("evil-subject"))
    assert "\x1b" not in done.stdout
    assert "\\x1b[31mred\\u202e" in done.stdout


def test_no_private_key_is_in_any_output(shell: Shell) -> None:
    path = shell.mesh("key-in-the-annotation")
    objects = CASES["key-in-the-annotation"].mesh.objects()
    key = next(o["data"]["ca-key.pem"] for o in objects if o["metadata"]["name"] == "istio-ca-secret")
    shown = "".join(
        shell("expiry", "-f", path, "-o", form).stdout for form in ("table", "wide", "json", "yaml", "name")
    )
    assert key[200:260] not in shown
    assert "PRIVATE" not in shown

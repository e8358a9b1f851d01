"""The scripts of build/ that a person runs first: what they say where something is missing, and what they leave."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

BUILD = Path(__file__).resolve().parent.parent / "build"
TOOLS = ("cat", "cmp", "dirname", "grep", "sh", "tail")

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def set_up(tmp_path: Path) -> Run:
    """Run build/environment in a new clone with a space in its path, where only some programs can be found."""
    (tmp_path / "a clone/build").mkdir(parents=True)
    for name in ("environment", "requirements.lock"):
        shutil.copy(BUILD / name, tmp_path / "a clone/build")
    programs = tmp_path / "bin"
    programs.mkdir()
    for tool in TOOLS:
        (programs / tool).symlink_to(str(shutil.which(tool)))

    def run(**pythons: str) -> subprocess.CompletedProcess[str]:
        for name, script in pythons.items():
            python = programs / name.replace("_", ".")
            python.write_text(f"#!/bin/sh\n{script}\n")
            python.chmod(0o755)
        command = tmp_path / "a clone/build/environment"
        return subprocess.run(
            [command], env={"PATH": str(programs)}, capture_output=True, text=True, check=False, timeout=60
        )

    return run


def test_without_a_python_one_line_says_so(set_up: Run) -> None:
    done = set_up()
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == (
        "build/environment: no python 3.11 or newer (tried python3 python3.11 python3.12 python3.13 python3.14"
        " python3.15; PYTHON=... names another)\n"
    )


def test_a_python_that_is_too_old_and_a_shim_that_fails_are_none(set_up: Run) -> None:
    done = set_up(python3="exit 0", python3_12="echo 'command not found' >&2; exit 127")
    assert (done.returncode, done.stderr.count("\n")) == (3, 1)
    assert "no python 3.11 or newer" in done.stderr


def test_without_a_venv_module_one_line_says_so(set_up: Run) -> None:
    done = set_up(python3='case "$2" in *ensurepip*) exit 1 ;; esac\necho "$0"')
    assert (done.returncode, done.stderr.count("\n")) == (3, 1)
    assert "bin/python3 has no venv module" in done.stderr


@pytest.fixture
def demo(tmp_path: Path) -> Run:
    environment = {**os.environ, "HOME": str(tmp_path), "TMPDIR": str(tmp_path), "SHELL": ""}

    def run(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, BUILD / "demo.py", *arguments],
            input=stdin,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    return run


def test_the_demo_shows_each_command_with_its_exit_code(demo: Run, tmp_path: Path) -> None:
    done = demo()
    assert (done.returncode, done.stderr) == (0, "")
    assert "$ kubectl istio-root expiry\n" in done.stdout
    codes = [line for line in done.stdout.splitlines() if line.startswith("[exit code ")]
    assert codes[:2] == ["[exit code 0]", "[exit code 2]"]
    assert list(tmp_path.iterdir()) == []


def test_the_shell_of_the_demo_takes_commands_from_a_pipe(demo: Run, tmp_path: Path) -> None:
    done = demo("--shell", stdin="kubectl get secrets -A -o name\nkubectl istio-root expiry -o name\nexit 7\n")
    assert (done.returncode, done.stderr) == (7, "")
    assert "secret/istio-ca-secret\n" in done.stdout
    assert "configmap/istio-ca-root-cert -n shop\n" in done.stdout
    assert list(tmp_path.iterdir()) == []

"""The scripts of build/ that a person runs first: what they say where something is missing, and what they leave."""

from __future__ import annotations

import os
import re
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


def test_the_demo_gives_each_mesh_a_new_root_and_takes_it_back(demo: Run, tmp_path: Path) -> None:
    done = demo()
    told = [line for line in done.stderr.splitlines() if not re.match(r"\d/\d (Secret|Deployment) istio-system/", line)]
    assert (done.returncode, told) == (0, [])
    shown = re.findall(r"^\$ kubectl (.*)$", done.stdout, re.MULTILINE)
    codes = [int(code) for code in re.findall(r"^\[exit code (\d+)\]$", done.stdout, re.MULTILINE)]
    assert list(zip(shown, codes, strict=True)) == [
        ("get configmaps,secrets -A", 0),
        ("istio-root expiry", 2),
        ("istio-root expiry -o wide -n shop", 2),
        ("istio-root expiry -o name", 2),
        ("istio-proxyver", 1),
        ("istio-certverify", 2),
        ("istio-certverify --live deploy/web -o wide", 0),
        ("istio-root transition", 2),
        ("-n istio-system rollout restart deployment/istiod", 0),
        ("istio-certverify --stored --wait --timeout 1m", 0),
        ("istio-root transition", 0),
        ("istio-root transition --apply --yes", 0),
        ("istio-certverify --wait --timeout 1m", 0),
        ("istio-certverify --live deploy/web -o wide", 0),
        ("istio-root restore --apply --yes", 0),
        ("istio-root expiry", 1),
        ("istio-proxyver", 2),
        ("istio-root transition", 1),
        ("istio-root transition --apply --yes", 0),
        ("-n shop rollout restart deployment/web", 0),
        ("istio-certverify --wait --timeout 1m", 0),
        ("istio-root restore --apply --yes", 0),
    ]
    assert list(tmp_path.iterdir()) == []


def test_the_shell_of_the_demo_stands_in_front_of_a_cluster_that_reacts(demo: Run) -> None:
    done = demo("--shell", "--era", "citadel", stdin="kubectl istio-root transition --apply --yes\n")
    assert done.returncode == 0
    assert "4 of 4 steps done" in done.stdout


def test_the_shell_of_the_demo_takes_commands_from_a_pipe(demo: Run, tmp_path: Path) -> None:
    done = demo("--shell", stdin="kubectl get secrets -A -o name\nkubectl istio-root expiry -o name\nexit 7\n")
    assert (done.returncode, done.stderr) == (7, "")
    assert "secret/istio-ca-secret\n" in done.stdout
    assert "configmap/istio-ca-root-cert -n shop\n" in done.stdout
    assert list(tmp_path.iterdir()) == []

"""Four TLS stacks that meet in a mesh, each asked the same: whether two workloads accept each other.

Each is a program of its own, started once. It reads a line, which is a JSON list of questions, and writes a line, which
is a list of as many verdicts. A question is `{"leaf": PEM, "key": PEM, "root": PEM}`: in one real mutual handshake,
both ends show this leaf and trust this root alone. A verdict is empty where the handshake was done, else the words of
the one who refused. Whatever else goes wrong ends the program.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cluster.programs import cache_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

HERE = Path(__file__).parent
DNS_NAME = "workload.mesh.test"  # beside the URI in each leaf, for the stacks that must know whom they talk to


class Missing(Exception):
    """What this machine lacks to have a stack."""


@dataclass(frozen=True, slots=True)
class Question:
    """A leaf (the certificate alone) with its key, and the one root that is trusted, all as PEM."""

    leaf: str
    key: str
    root: str


def openssl() -> list[str]:
    return [sys.executable, "-m", "tls_stacks.memory_bio", "ssl"]


def rustls() -> list[str]:
    """As ztunnel is built: rustls with aws-lc."""
    return [sys.executable, "-m", "tls_stacks.memory_bio", "rtls"]


def boringssl() -> list[str]:
    """As in Envoy: gRPC for Python brings it along."""
    return [sys.executable, "-m", "tls_stacks.grpc_channel"]


def go() -> list[str]:
    return [str(_go_program())]


@contextmanager
def running(command: list[str]) -> Iterator[Callable[[Sequence[Question]], list[str]]]:
    """Start one of them; what is given asks it."""
    environment = os.environ | {"PYTHONPATH": str(HERE.parent), "GRPC_VERBOSITY": "NONE"}
    program = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with program as started:

        def ask(questions: Sequence[Question]) -> list[str]:
            if not (started.stdin and started.stdout):
                raise AssertionError("these are pipes")
            started.stdin.write(json.dumps([asdict(question) for question in questions]) + "\n")
            started.stdin.flush()
            verdicts: list[str] = json.loads(started.stdout.readline())
            return verdicts

        yield ask


def _go_program() -> Path:
    """Build it once for each text of it and each Go."""
    compiler = shutil.which("go")
    if not compiler:
        raise Missing("there is no Go here (1.21 or newer)")
    module = HERE / "go"
    version = subprocess.run([compiler, "version"], capture_output=True, check=True).stdout
    text = b"\0".join((version, *(path.read_bytes() for path in sorted(module.iterdir()))))
    program = cache_folder() / f"tls-go-{hashlib.sha256(text).hexdigest()[:16]}"
    if not program.is_file():
        with tempfile.TemporaryDirectory(prefix="building-", dir=program.parent) as part:
            made = Path(part, "handshakes")
            environment = os.environ | {"CGO_ENABLED": "0", "GOTOOLCHAIN": "local"}
            command = [compiler, "build", "-trimpath", "-o", str(made), "."]
            done = subprocess.run(command, cwd=module, env=environment, capture_output=True, text=True, check=False)
            if done.returncode:
                raise AssertionError(done.stderr)
            made.rename(program)
    return program

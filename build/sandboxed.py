"""A kubectl that asks a sandbox and finds our plugins: what `demo` shows and `bench` measures."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sandbox import Lively, Mesh

ROOT = Path(__file__).resolve().parent.parent
COMMANDS = Path(sys.prefix, "bin")

sys.path.insert(0, str(ROOT / "tests"))


@contextmanager
def sandboxed(description: Path | Mesh, kubectl: Path, lively: Lively | None = None) -> Iterator[dict[str, str]]:
    """Give the environment for commands, as long as the sandbox runs. Nothing stays on the disk after it."""
    from sandbox.description import read_mesh  # noqa: PLC0415 - found under tests/, which has just been put on the path
    from sandbox.server import serve  # noqa: PLC0415

    mesh = read_mesh(description) if isinstance(description, Path) else description
    with TemporaryDirectory(prefix="kubectl-") as folder, serve(mesh, lively=lively) as server:
        for command in (kubectl, *COMMANDS.glob("kubectl-istio_*")):
            Path(folder, command.name).symlink_to(command)
        path = os.pathsep.join([folder, os.environ.get("PATH", os.defpath)])
        yield {**os.environ, **server.environment, "KUBERC": "off", "PATH": path}


def users_kubectl() -> Path:
    """The kubectl on PATH, where that is one that runs, else the one of the private environment."""
    found = shutil.which("kubectl")
    if found and not subprocess.run([found, "version", "--client"], capture_output=True, check=False).returncode:
        return Path(found).absolute()
    return locked_kubectl()


def locked_kubectl() -> Path:
    return COMMANDS / "kubectl"

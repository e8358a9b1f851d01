"""A ground: one Kubernetes, in a network, a tree of processes and mounts of its own.

Its namespaces have loopback and what CNI makes in them, and no way out. They end with their first process, and that
ends with whoever started it, even by SIGKILL: the kernel takes down all that is in them, and nothing else.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from cluster import node
from cluster.images import archives
from cluster.pki import write_pki
from cluster.programs import HERE, Programs, programs
from cluster.settings import write_settings

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

_CGROUPS = Path("/sys/fs/cgroup")
# The second version has no names of controllers, and one hierarchy, which stands alone or beside the others.
_HIERARCHIES = {"": ("", "unified")}
_CONTAINER = re.compile("[0-9a-f]{64}")


class GroundError(Exception):
    """A command of the ground failed, and what it said."""


@dataclass(frozen=True, slots=True)
class Traces:
    """What is a ground's alone, and must be gone after it."""

    folder: Path
    processes: tuple[tuple[int, str], ...]
    cgroups: frozenset[Path]

    def left(self) -> tuple[str, ...]:
        """Name what is still there; a number may have been given to a newer process."""
        processes = (f"process {pid}" for pid, started in self.processes if started and _moment(pid)[1] == started)
        return (*processes, *(str(path) for path in (self.folder, *self.cgroups) if path.exists()))


@dataclass(frozen=True, slots=True)
class Ground:
    """A running Kubernetes. Commands are run inside it: nobody outside can reach it."""

    folder: Path
    programs: Programs
    pid: int

    @property
    def kubeconfig(self) -> Path:
        """Of a user who may do everything; `watcher.kubeconfig` beside it may do nothing."""
        return self.folder / "admin.kubeconfig"

    def run(
        self,
        *command: str,
        stdin: str = "",
        environment: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        timeout: float = 300,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command inside, with kubectl and istioctl on its PATH."""
        done = subprocess.run(
            self.command(*command, cwd=cwd),
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
            env={**self.environment, **(environment or {})},
        )
        if done.returncode and not Path(f"/proc/{self.pid}/ns/net").exists():
            raise GroundError(f"the ground is gone: {_last_words(self.folder)}")
        return done

    @property
    def environment(self) -> dict[str, str]:
        places = (str(Path(sys.executable).parent), str(self.programs.folder), os.environ["PATH"])
        return {
            "HOME": str(self.folder),
            "KUBECONFIG": str(self.kubeconfig),
            "PATH": os.pathsep.join(places),
            "PYTHONPATH": str(HERE.parent),
        }

    def say(self, *command: str, stdin: str = "", timeout: float = 300) -> str:
        """Run a command that has to succeed, and give what it said."""
        done = self.run(*command, stdin=stdin, timeout=timeout)
        if done.returncode:
            raise GroundError(f"{' '.join(command)}: {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
        return done.stdout

    def kubectl(self, *arguments: str, stdin: str = "", timeout: float = 300) -> str:
        return self.say("kubectl", *arguments, stdin=stdin, timeout=timeout)

    def get(self, *arguments: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.kubectl("get", *arguments, "-o", "json"))
        return found

    def apply(self, *objects: Mapping[str, Any], manager: str = "kubectl") -> None:
        """Server-side: `kubectl apply` of the other kind would keep a copy of a Secret in an annotation."""
        several = {"apiVersion": "v1", "kind": "List", "items": objects}
        how = ("--server-side", "--force-conflicts", f"--field-manager={manager}")
        self.kubectl("apply", *how, "-f", "-", stdin=json.dumps(several))

    def load(self, image: Path) -> None:
        """Give the node an image, of a docker-archive."""
        self.say("ctr", "-a", "/run/containerd.sock", "-n", "k8s.io", "image", "import", str(image))

    def pids_of(self, program: str) -> tuple[int, ...]:
        """Find the processes of a program inside, by its file's name, as numbers of the outside."""
        return tuple(pid for pid in _descendants(self.pid) if _program(pid) == program)

    def kill(self, pid: int) -> None:
        """Kill a command that was started here, and all that it has started, without a word."""
        for one in (pid, *_descendants(pid)):
            with suppress(ProcessLookupError):
                os.kill(one, signal.SIGKILL)

    def traces(self) -> Traces:
        """Name all that is this ground's now."""
        processes = (self.pid, *_descendants(self.pid))
        return Traces(self.folder, tuple(_moment(pid) for pid in processes), _cgroups_of(processes))

    def command(self, *command: str, cwd: Path | None = None) -> tuple[str, ...]:
        """Give the command that runs another one inside."""
        enter = ("nsenter", "--target", str(self.pid), "--net", "--mount", "--pid", "--ipc")
        return (*enter, "env", f"--chdir={cwd or self.folder}", *command)


@contextmanager
def ground(*, stores_only: bool = False) -> Iterator[Ground]:
    """Start a Kubernetes with nothing on it but the images of Istio; whatever happens, none of it is left.

    `stores_only` is an API server that stores what it is given, and no node: for more objects than could run.
    """
    built = programs()
    with tempfile.TemporaryDirectory(prefix="ground-") as place:
        folder = Path(place)
        write_pki(folder)
        write_settings(folder)
        with (
            (folder / "node.log").open("w") as log,
            _start(folder, built, log, node.STORES if stores_only else "") as outer,
        ):
            try:
                kubernetes = Ground(folder, built, _first_process(outer, folder))
                if not stores_only:
                    _get_ready(kubernetes)
                yield kubernetes
            finally:
                _stop(outer)


def _get_ready(kubernetes: Ground) -> None:
    for image in archives(kubernetes.programs):
        kubernetes.load(image)
    kubernetes.kubectl("wait", "--for=condition=Ready", "node", "--all", "--timeout=180s")


def _start(folder: Path, built: Programs, log: IO[str], which: str) -> subprocess.Popen[str]:
    """Start the first process, in a chain in which each dies with the one before it."""
    return subprocess.Popen(
        [
            *("setpriv", "--pdeathsig", "KILL"),
            *("unshare", "--fork", "--kill-child", "--pid", "--mount-proc", "--net", "--mount", "--ipc"),
            *(sys.executable, "-m", node.__name__, str(folder), str(built.folder), which),
        ],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "HOME": str(folder), "PYTHONPATH": str(HERE.parent)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=log,
        start_new_session=True,
        text=True,
    )


def _first_process(outer: subprocess.Popen[str], folder: Path) -> int:
    if outer.stdout is None or outer.stdout.readline().strip() != node.READY:
        raise GroundError(f"the node does not start: {_last_words(folder)}")
    return _descendants(outer.pid)[0]


def _stop(outer: subprocess.Popen[str]) -> None:
    """Kill the first process, and with it all others; the kernel keeps their cgroups until somebody removes them."""
    below = _descendants(outer.pid)
    cgroups = _cgroups_of(below)
    for pid in below[:1]:
        os.kill(pid, signal.SIGKILL)
    outer.wait()
    for cgroup in cgroups:
        _remove(cgroup)
        with suppress(OSError):
            cgroup.parent.rmdir()  # others may have containers there


def _moment(pid: int) -> tuple[int, str]:
    """Give a process and when it started, in the kernel's ticks: together they are never given again."""
    try:
        return pid, Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return pid, ""


def _cgroups_of(processes: Iterable[int]) -> frozenset[Path]:
    return frozenset(cgroup for pid in processes for cgroup in _cgroups(pid))


def _cgroups(pid: int) -> Iterator[Path]:
    """Give the cgroups that were made for a container: one for each hierarchy, named by its id."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if _CONTAINER.fullmatch(Path(path).name):
                for top in _HIERARCHIES.get(controllers, (controllers.removeprefix("name="),)):
                    yield _CGROUPS / top / path.lstrip("/")


def _last_words(folder: Path) -> str:
    """Give what the first process said, and the end of the log of the server that it names, or of all."""
    said = (folder / "node.log").read_text()
    logs = [path for path in folder.glob("*.log") if path.name in said] or folder.glob("*.log")
    return said + "".join(f"{path.name}: {path.read_text(errors='replace')[-800:]}\n" for path in logs)


def _descendants(pid: int) -> tuple[int, ...]:
    """Give all processes below one, the nearest first."""
    try:
        below = [
            int(child)
            for task in Path(f"/proc/{pid}/task").iterdir()
            for child in (task / "children").read_text().split()
        ]
    except OSError:
        return ()  # it has just ended
    return (*below, *(deeper for child in below for deeper in _descendants(child)))


def _program(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/exe").readlink().name
    except OSError:
        return ""


def _remove(cgroup: Path) -> None:
    """Its last processes may take a moment to be gone."""
    for _ in range(100):
        if not cgroup.exists():
            return
        with suppress(OSError):
            cgroup.rmdir()
            return
        time.sleep(0.05)
    raise GroundError(f"{cgroup} is still in use")

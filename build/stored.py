"""Verifies what is stored on large meshes in a sandbox, and reads the same objects with kubectl beside."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import TYPE_CHECKING

from sandboxed import ROOT, locked_kubectl, sandboxed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sandbox import Mesh

SECRETS, NAMESPACES = 10_000, 200
RUNS = 5
MOST_MEMORY = 80
# The memory of a process begins with that of the one that started it: this one is small.
_MEASURE = """
import resource, subprocess, sys
done = subprocess.run(sys.argv[2:], check=False)
open(sys.argv[1], "w").write(str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss))
sys.exit(done.returncode)
"""
_CONTINUE = re.compile(rb'"continue":"([^"]+)"')


@dataclass(slots=True)
class Reader:
    """A way to read it all, and what each run of it took."""

    name: str
    seconds: list[float] = field(default_factory=list)
    memory: int = 0

    def run(self, command: Sequence[str | Path], environment: Mapping[str, str], output: Path) -> None:
        measured = output.with_suffix(".memory")
        with output.open("wb") as out:
            subprocess.run(
                (sys.executable, "-ISc", _MEASURE, measured, *command), env=environment, stdout=out, check=True
            )
        self.memory = max(self.memory, int(measured.read_text()))


def stored() -> None:
    """10,000 workload Secrets, every leaf verified, and 1,000 namespaces of ConfigMaps, against kubectl get --raw."""
    with TemporaryDirectory(prefix="bench-") as folder:
        subprocess.run([sys.executable, ROOT / "build/release.py", "--output", folder], check=True)
        plugin, output = Path(folder, "kubectl-istio_certverify"), Path(folder, "output")
        secrets = "/api/v1/secrets?fieldSelector=type%3Distio.io%2Fkey-and-cert&limit=500"
        with sandboxed(citadel(), locked_kubectl()) as environment:
            _compare(f"{SECRETS} Secrets", secrets, plugin, output, environment, goal=0.6)
        maps = "/api/v1/configmaps?fieldSelector=metadata.name%3Distio-ca-root-cert&limit=500"
        with sandboxed(istiod(), locked_kubectl()) as environment:
            _compare("1000 ConfigMaps", maps, plugin, output, environment, goal=1.0)


def _compare(what: str, path: str, plugin: Path, output: Path, environment: Mapping[str, str], *, goal: float) -> None:
    kubectl, ours, rows = Reader("kubectl get --raw, pages"), Reader("--stored"), Reader("--stored -o json")
    for _ in range(1 + RUNS):  # by turns, so that a busy moment meets all of them
        begin = perf_counter()
        for page in _pages(path, output):
            kubectl.run(("kubectl", "get", "--raw", page), environment, output)
        kubectl.seconds.append(perf_counter() - begin)
        for reader, arguments in ((ours, ()), (rows, ("-o", "json"))):
            begin = perf_counter()
            reader.run((plugin, "--stored", *arguments), environment, output)
            reader.seconds.append(perf_counter() - begin)
        found = json.loads(output.read_bytes())
        if (found["status"], found["counts"]["unseen"]) != ("ok", 0):
            sys.exit(f"not the mesh that was to be measured: {found['findings']}")
    print(f"{what}: median of {RUNS} runs, by turns, after one to warm up")
    print(f"{'':26}{'ms':>8}{'ratio':>8}{'goal':>8}{'MB':>8}{'goal':>8}")
    base = median(kubectl.seconds[1:])
    for reader in (kubectl, ours, rows):
        taken = median(reader.seconds[1:])
        ratio = f"{reader.name:26}{taken * 1000:8.0f}{taken / base:8.2f}{goal:8.1f}"
        print(f"{ratio}{reader.memory / 1024:8.0f}{MOST_MEMORY:8}")


def _pages(first: str, output: Path) -> Iterator[str]:
    """The paths of the pages; each is in the answer before it."""
    path = first
    while path:
        yield path
        told = _CONTINUE.search(output.read_bytes()[:4096])
        path = f"{first}&continue={told[1].decode()}" if told else ""


def citadel() -> Mesh:
    from sandbox import Account, Authority, Ca, Mesh, Namespace  # noqa: PLC0415 - found under tests/

    accounts = tuple(Account(f"account-{number:03}") for number in range(SECRETS // NAMESPACES))
    return Mesh(
        now=datetime.now(UTC),
        era="citadel",
        version="1.4.10",
        ca=Authority(root=Ca(identifier="none", ends=timedelta(days=3000))),
        namespaces=tuple(Namespace(f"team-{number:03}", accounts=accounts) for number in range(NAMESPACES)),
    )


def istiod() -> Mesh:
    from sandbox import Mesh, Namespace  # noqa: PLC0415 - as above

    return Mesh(now=datetime.now(UTC), namespaces=tuple(Namespace(f"team-{number:04}") for number in range(1000)))

"""Counts the versions of 5,000 pods in a sandbox, and reads the same pods with kubectl beside: seconds and memory."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import TYPE_CHECKING, Any

from sandboxed import ROOT, locked_kubectl

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sandbox import Mesh

PODS, NAMESPACES, REPLICAS = 5000, 200, 5
RUNS = 9
MOST_MEMORY = 80
_CONTINUE = re.compile(rb'"continue":"([^"]+)"')


@dataclass(slots=True)
class Reader:
    """A way to read all pods, and what its runs took."""

    name: str
    seconds: list[float] = field(default_factory=list)
    memory: int = 0

    def run(self, command: Sequence[str | Path], environment: Mapping[str, str], output: Path) -> None:
        with output.open("wb") as out, subprocess.Popen(command, env=environment, stdout=out) as process:
            _, status, used = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit(f"{self.name}: exit code {process.returncode}")
        self.memory = max(self.memory, used.ru_maxrss)


def versions() -> None:
    """5,000 real pods: istio-proxyver, its whole process, against kubectl get --raw in pages of 500."""
    with TemporaryDirectory(prefix="bench-") as folder, crowded_sandbox(Path(folder)) as environment:
        subprocess.run([sys.executable, ROOT / "build/release.py", "--output", folder], check=True)
        output, plugin = Path(folder, "output"), Path(folder, "kubectl-istio_proxyver")
        kubectl, table, rows = (
            Reader("kubectl get --raw, pages"),
            Reader("istio-proxyver"),
            Reader("istio-proxyver -o json"),
        )
        for _ in range(1 + RUNS):  # by turns, so that a busy moment meets all of them
            begin = perf_counter()
            for path in _pages(output):
                kubectl.run((locked_kubectl(), "get", "--raw", path), environment, output)
            kubectl.seconds.append(perf_counter() - begin)
            for reader, arguments in ((table, ()), (rows, ("-o", "json"))):
                begin = perf_counter()
                reader.run((plugin, *arguments), environment, output)
                reader.seconds.append(perf_counter() - begin)
            if (found := output.read_bytes().count(b'"kind": "sidecar"')) != PODS:
                raise SystemExit(f"found {found} of {PODS} proxies")
    print_table(kubectl, table, rows)


def _pages(output: Path) -> Iterator[str]:
    """The paths of the pages; what follows is said at the beginning of each."""
    path = "/api/v1/pods?limit=500"
    while path:
        yield path
        with output.open("rb") as page:
            told = _CONTINUE.search(page.read(4096))
        path = f"/api/v1/pods?limit=500&continue={told[1].decode()}" if told else ""


def print_table(*readers: Reader) -> None:
    print(f"median of {RUNS} runs, by turns, after one to warm up")
    print(f"{f'{PODS} pods':26}{'ms':>8}{'ratio':>8}{'goal':>8}{'MB':>8}{'goal':>8}")
    base = median(readers[0].seconds[1:])
    for reader in readers:
        taken = median(reader.seconds[1:])
        time = f"{reader.name:26}{taken * 1000:8.0f}{taken / base:8.2f}{1.0:8.1f}"
        print(f"{time}{reader.memory / 1024:8.0f}{MOST_MEMORY:8}")


@contextmanager
def crowded_sandbox(folder: Path) -> Iterator[dict[str, str]]:
    """In a process of its own: what this one holds in memory would be counted as its children's."""
    command = [sys.executable, __file__]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as sandbox:
        if sandbox.stdout is None or not (kubeconfig := sandbox.stdout.readline().decode().strip()):
            raise SystemExit("the sandbox does not start")
        try:
            yield {"KUBECONFIG": kubeconfig, "HOME": str(folder), "KUBERC": "off", "PATH": os.environ["PATH"]}
        finally:
            sandbox.terminate()


def serve_crowd() -> None:
    from sandbox.server import serve  # noqa: PLC0415 - found under tests/, which `sandboxed` has put on the path

    with serve(crowd()) as server:
        print(server.kubeconfig, flush=True)
        sys.stdin.read()


def crowd() -> Mesh:
    """The pods of a real sidecar, as a real API server gave it, under 5,000 names."""
    from sandbox import Edit, Mesh  # noqa: PLC0415 - as above

    real = recorded_sidecar()
    return Mesh(
        now=datetime.now(UTC), version="1.31.0", edits=tuple(Edit(**named(real, number)) for number in range(PODS))
    )


def recorded_sidecar() -> dict[str, Any]:
    import yaml  # noqa: PLC0415 - in the process of the sandbox alone

    with tarfile.open(ROOT / "tests/recorded/healthy.bug-report.tar.gz") as archive:
        resources = archive.extractfile("bug-report/cluster/k8s-resources")
        listed = yaml.load(resources or b"", Loader=yaml.CSafeLoader)["items"]
    sidecar: dict[str, Any] = next(
        one for one in listed if one["kind"] == "Pod" and one["metadata"]["namespace"] == "bank"
    )
    return sidecar


def named(real: Mapping[str, Any], number: int) -> dict[str, Any]:
    namespace, workload = f"team-{number % NAMESPACES:03}", f"app-{number // NAMESPACES // REPLICAS}"
    name = f"{workload}-f98885c6c-{number:05}"
    owner = {**real["metadata"]["ownerReferences"][0], "name": f"{workload}-f98885c6c"}
    kept = {key: value for key, value in real["metadata"].items() if key in {"annotations", "generateName"}}
    labels = {**real["metadata"]["labels"], "app": workload}
    metadata = {**kept, "name": name, "namespace": namespace, "labels": labels, "ownerReferences": [owner]}
    patch = {"metadata": metadata, "spec": real["spec"], "status": real["status"]}
    return {"kind": "Pod", "namespace": namespace, "name": name, "patch": patch}


if __name__ == "__main__":
    serve_crowd()

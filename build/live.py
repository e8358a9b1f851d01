"""Asks pretend proxies for what they hold in memory, and lets kubectl ask for the same.

The sandbox has no SPDY, which `kubectl port-forward` speaks: its peer here is `kubectl exec`. What both need of the
machine, the sandbox needs once more, so a real cluster answers more of them.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import TYPE_CHECKING

from sandboxed import ROOT, locked_kubectl

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from meshtrust.objects import Ref

PROXIES = 500
FAR = 0.01
SECRETS = "config_dump?mask=dynamic_active_secrets,dynamic_warming_secrets"


@dataclass(frozen=True, slots=True)
class Run:
    """So many questions, so many at once."""

    name: str
    questions: int
    seconds: float
    cpu: float
    memory: int = 0

    def __str__(self) -> str:
        each = 1000 * self.cpu / self.questions
        memory = f"{self.memory // 1024:8} MB" if self.memory else ""
        return f"{self.name:44}{self.questions:10}{self.questions / self.seconds:12.0f}{each:10.1f}{memory}"


def live() -> None:
    """Proxies asked in a second, and CPU of each: near and 10 ms away, beside loops of kubectl exec; and the plugin."""
    print(f"{'':44}{'questions':>10}{'a second':>12}{'CPU ms':>10}")
    with TemporaryDirectory(prefix="bench-") as folder:
        subprocess.run([sys.executable, ROOT / "build/release.py", "--output", folder], check=True)
        plugin = Path(folder, "kubectl-istio_certverify")
        # First: the memory of a process begins with that of the one that started it, which is small yet.
        for number, away, at_once in ((1000, 0, 32), (10_000, 0, 32), (1000, FAR, 64)):
            with far_sandbox(away, number) as kubeconfig:
                print(verified(plugin, kubeconfig, number, at_once, f"{1000 * away:.0f} ms away" if away else "near"))
    for away in (0, FAR):
        where = f"{1000 * away:.0f} ms away" if away else "near"
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        with far_sandbox(away) as kubeconfig:
            runs = tuple(measured(kubeconfig, where))
        theirs = _cpu(resource.getrusage(resource.RUSAGE_CHILDREN)) - _cpu(before) - sum(run.cpu for run in runs[-2:])
        each = 1000 * theirs / sum(run.questions for run in runs)
        print(f"{'(the sandbox, in the same machine)':66}{each:10.1f}")


def verified(plugin: Path, kubeconfig: Path, number: int, at_once: int, where: str) -> Run:
    """The whole plugin, from its start to its end, on so many proxies; what it found must be fine."""
    command = (plugin, "--live", "--concurrency", str(at_once), "--kubeconfig", kubeconfig)
    begin = perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=kubeconfig.parent) as process:
        said = process.stdout.read() if process.stdout else b""
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    seconds = perf_counter() - begin
    if process.returncode or f"checked {number} of {number}".encode() not in said:
        sys.exit(f"not the mesh that was to be measured: {said.decode()[-500:]}")
    name = f"certverify --live, {at_once} at once, {where}"
    return Run(name, number, seconds, _cpu(usage), usage.ru_maxrss)


def measured(kubeconfig: Path, where: str) -> Iterator[Run]:
    from meshtrust.cluster import Cluster, Connection  # noqa: PLC0415 - after the peers' environment is known

    with Cluster(Connection(kubeconfig=str(kubeconfig), request_timeout=60)) as cluster:
        pods = [pod.ref for pod in cluster.objects("Pod", namespace="shop")]

        def ask(pod: Ref) -> None:
            cluster.proxy_admin(pod, SECRETS, port=15000, container="istio-proxy")

        ask(pods[0])  # the first one imports what speaks websocket
        for at_once in (1, 16, 32, 64):
            some = pods[: PROXIES if at_once > 1 else 50]
            yield _shown(f"proxy_admin, {at_once} at once, {where}", some, at_once, ask, resource.RUSAGE_SELF)
        first = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        if where == "near":
            yield _shown(f"proxy_admin, 64 at once, {where}", pods * 10, 64, ask, resource.RUSAGE_SELF)
            last = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            print(f"    peak memory {first // 1024} MB after {3 * PROXIES}, {last // 1024} MB after {13 * PROXIES}")

        def execute(pod: Ref) -> None:
            command = ("exec", "-n", pod.namespace, pod.name, "-c", "istio-proxy", "--")
            agent = ("pilot-agent", "request", "GET", SECRETS)
            environment = {"KUBECONFIG": str(kubeconfig), "HOME": str(kubeconfig.parent)}
            subprocess.run([locked_kubectl(), *command, *agent], env=environment, check=True, capture_output=True)

        yield _shown(f"kubectl exec, a loop, {where}", pods[:20], 1, execute, resource.RUSAGE_CHILDREN)
        yield _shown(f"kubectl exec, 8 at once, {where}", pods[:40], 8, execute, resource.RUSAGE_CHILDREN)


def _shown(name: str, pods: Sequence[Ref], at_once: int, ask: Callable[[Ref], None], whose: int) -> Run:
    begin, before = perf_counter(), _cpu(resource.getrusage(whose))
    with ThreadPoolExecutor(at_once) as pool:
        list(pool.map(ask, pods))
    run = Run(name, len(pods), perf_counter() - begin, _cpu(resource.getrusage(whose)) - before)
    print(run, flush=True)
    return run


def _cpu(usage: resource.struct_rusage) -> float:
    return usage.ru_utime + usage.ru_stime


@contextmanager
def far_sandbox(away: float, number: int = PROXIES) -> Iterator[Path]:
    """In a process of its own, so that its CPU is not ours."""
    with TemporaryDirectory(prefix="bench-") as folder:
        description, kubeconfig = Path(folder, "mesh.yaml"), Path(folder, "kubeconfig")
        described = (f"  - {{name: web-{one // 50}, namespace: shop}}\n" for one in range(number))
        description.write_text("proxies:\n" + "".join(described))
        command = [sys.executable, "-m", "sandbox", description, "--kubeconfig", kubeconfig, "--round-trip", str(away)]
        with subprocess.Popen(command, cwd=ROOT / "tests", stdout=subprocess.PIPE) as sandbox:
            if sandbox.stdout:
                sandbox.stdout.readline()  # it is ready
            try:
                yield kubeconfig
            finally:
                sandbox.terminate()

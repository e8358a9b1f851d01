"""Measures the single-file plugin against kubectl on a sandbox, in one run: milliseconds are the machine's alone."""

from __future__ import annotations

import inspect
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import TYPE_CHECKING

from ground import PARTS, ground
from live import live
from sandboxed import ROOT, locked_kubectl, sandboxed
from stored import stored
from versions import versions

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

RUNS = 15


@dataclass(frozen=True, slots=True)
class Contender:
    """A command, and how many times as long as the first one it may take."""

    name: str
    command: Sequence[str | Path]
    goal: float
    seconds: list[float] = field(default_factory=list)

    def run(self, environment: Mapping[str, str]) -> None:
        begin = perf_counter()
        subprocess.run(self.command, env=environment, capture_output=True, check=False)
        self.seconds.append(perf_counter() - begin)


def start() -> None:
    """A whole process, from its start to its end: --version, --help, expiry on a small mesh."""
    with (
        TemporaryDirectory(prefix="bench-") as folder,
        sandboxed(ROOT / "build/demo.yaml", locked_kubectl()) as environment,
    ):
        subprocess.run([sys.executable, ROOT / "build/release.py", "--output", folder], check=True)
        plugin = Path(folder, "kubectl-istio_root")
        one_object = ("kubectl", "get", "configmap", "istio-ca-root-cert", "--namespace", "istio-system")
        contenders = (
            Contender("kubectl get of one object", one_object, 1.0),
            Contender("--version", (plugin, "--version"), 1.0),
            Contender("--help", (plugin, "--help"), 2.0),
            Contender("expiry --help", (plugin, "expiry", "--help"), 2.0),
            Contender("completion of an option", (plugin, "__complete", "expiry", "--o"), 1.5),
            Contender("expiry", (plugin, "expiry"), 5.0),
        )
        for contender in contenders * (1 + RUNS):  # by turns, so that a busy moment meets all of them
            contender.run(environment)
    print_table(contenders)


def print_table(contenders: Sequence[Contender]) -> None:
    print(f"median of {RUNS} runs, by turns, after one to warm up")
    print(f"{'':26}{'ms':>8}{'ratio':>8}{'goal':>8}")
    base = median(contenders[0].seconds[1:])
    for contender in contenders:
        taken = median(contender.seconds[1:])
        print(f"{contender.name:26}{taken * 1000:8.0f}{taken / base:8.2f}{contender.goal:8.1f}")


BENCHES = {bench.__name__: bench for bench in (start, versions, stored, live, ground, *PARTS)}


def main() -> int:
    chosen = sys.argv[1:]
    if chosen and BENCHES.keys() >= set(chosen):
        for name in chosen:
            BENCHES[name]()
        return 0
    for name, bench in BENCHES.items():
        print(f"build/bench {name}    {inspect.getdoc(bench)}")
    return 64 if chosen else 0


if __name__ == "__main__":
    sys.exit(main())

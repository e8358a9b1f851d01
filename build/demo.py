"""Shows every verb on two pretend clusters, of istiod and of Citadel: what is wrong, a new root, and the way back."""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

from sandboxed import ROOT, sandboxed, users_kubectl

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager
    from typing import NoReturn

SHOWN = {
    "istiod": (
        "kubectl get configmaps,secrets -A",
        "kubectl istio-root expiry",
        "kubectl istio-root expiry -o wide -n shop",
        "kubectl istio-root expiry -o name",
        "kubectl istio-proxyver",
        "kubectl istio-certverify",
        "kubectl istio-certverify --live deploy/web -o wide",
        "kubectl istio-root transition",
        "kubectl -n istio-system rollout restart deployment/istiod",
        "kubectl istio-certverify --stored --wait --timeout 1m",
        "kubectl istio-root transition",
        "kubectl istio-root transition --apply --yes",
        "kubectl istio-certverify --wait --timeout 1m",
        "kubectl istio-certverify --live deploy/web -o wide",
        "kubectl istio-root restore --apply --yes",
    ),
    "citadel": (
        "kubectl istio-root expiry",
        "kubectl istio-proxyver",
        "kubectl istio-root transition",
        "kubectl istio-root transition --apply --yes",
        "kubectl -n shop rollout restart deployment/web",
        "kubectl istio-certverify --wait --timeout 1m",
        "kubectl istio-root restore --apply --yes",
    ),
}
MESHES = {"istiod": "build/demo.yaml", "citadel": "build/demo-citadel.yaml"}


def main() -> int:
    parser = argparse.ArgumentParser(prog="build/demo", description=__doc__)
    parser.add_argument("--shell", action="store_true", help="open a shell ($SHELL, else sh) instead, to try things in")
    parser.add_argument("--era", choices=MESHES, help="only this one; the shell stands before istiod unless told")
    options = parser.parse_args()
    for ending in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, leave)
    if options.shell:
        with cluster(options.era or "istiod") as environment:
            return open_shell(environment)
    for era in (options.era,) if options.era else MESHES:
        print(f"# {MESHES[era]}, a hundred times as fast as a real one\n", flush=True)
        with cluster(era) as environment:
            show(SHOWN[era], environment)
    return 0


def cluster(era: str) -> AbstractContextManager[Mapping[str, str]]:
    """A cluster that reacts to what is written; its proxies ask for a new leaf within seconds, not half a day."""
    from sandbox import Lively  # noqa: PLC0415 - found under tests/, which `sandboxed` has put on the path

    return sandboxed(ROOT / MESHES[era], users_kubectl(), Lively(pace=0.01, leaves=0.0001))


def leave(number: int, _frame: object) -> NoReturn:
    signal.signal(number, signal.SIG_IGN)  # once is enough: what was set up is being taken away
    sys.exit(128 + number)


def show(lines: tuple[str, ...], environment: Mapping[str, str]) -> None:
    for line in lines:
        print(f"$ {line}", flush=True)
        code = subprocess.run(shlex.split(line), env=environment, check=False).returncode
        print(f"[exit code {code}]\n", flush=True)


def open_shell(environment: Mapping[str, str]) -> int:
    shell = os.environ.get("SHELL") or "sh"
    if sys.stdin.isatty():
        print(f"{shell} with a cluster of its own: kubectl istio-root expiry, kubectl get secrets -A; exit ends it.")
    # Ctrl-C is for what runs in the shell: it would inherit SIG_IGN, but not a function that does nothing.
    signal.signal(signal.SIGINT, lambda _number, _frame: None)
    return subprocess.run([shell], env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())

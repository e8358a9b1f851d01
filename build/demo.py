"""Shows every verb on a sandbox: a mesh whose root has 20 days left, and a namespace that trusts another one."""

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
    from typing import NoReturn

SHOWN = (
    "kubectl get configmaps,secrets -A",
    "kubectl istio-root expiry",
    "kubectl istio-root expiry -o wide -n shop",
    "kubectl istio-root expiry -o name",
    "kubectl istio-proxyver",
    "kubectl istio-certverify",
    "kubectl istio-certverify --live deploy/web -o wide",
)


def main() -> int:
    parser = argparse.ArgumentParser(prog="build/demo", description=__doc__)
    parser.add_argument("--shell", action="store_true", help="open a shell ($SHELL, else sh) instead, to try things in")
    options = parser.parse_args()
    for ending in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, leave)
    with sandboxed(ROOT / "build/demo.yaml", users_kubectl()) as environment:
        return open_shell(environment) if options.shell else show(environment)


def leave(number: int, _frame: object) -> NoReturn:
    signal.signal(number, signal.SIG_IGN)  # once is enough: what was set up is being taken away
    sys.exit(128 + number)


def show(environment: Mapping[str, str]) -> int:
    for line in SHOWN:
        print(f"$ {line}", flush=True)
        code = subprocess.run(shlex.split(line), env=environment, check=False).returncode
        print(f"[exit code {code}]\n", flush=True)
    return 0


def open_shell(environment: Mapping[str, str]) -> int:
    shell = os.environ.get("SHELL") or "sh"
    if sys.stdin.isatty():
        print(f"{shell} with a cluster of its own: kubectl istio-root expiry, kubectl get secrets -A; exit ends it.")
    # Ctrl-C is for what runs in the shell: it would inherit SIG_IGN, but not a function that does nothing.
    signal.signal(signal.SIGINT, lambda _number, _frame: None)
    return subprocess.run([shell], env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())

"""What a ground could leave on the machine, to be compared before and after.

Several grounds may run at once, so what is theirs alone (processes, cgroups, folders) is not compared here but asked
after by name: `Ground.traces`.
"""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass, fields
from pathlib import Path

_PLACES = (
    *("/run", "/run/netns", "/run/containerd", "/etc/cni", "/opt", "/usr/libexec"),
    *("/var/lib", "/var/lib/cni", "/var/lib/kubelet", "/var/log", "/var/log/containers", "/var/log/pods"),
)
# kubelet tunes these for the whole machine; the network's are of each namespace, and of this one, too.
_SYSCTLS = ("vm/*", "kernel/panic*", "kernel/keys/*", "net/**/*")


@dataclass(frozen=True, slots=True)
class Footprint:
    """Everything as lines, so that a difference can be read."""

    interfaces: frozenset[str]
    addresses: frozenset[str]
    routes: frozenset[str]
    rules: frozenset[str]
    netfilter: frozenset[str]
    mounts: frozenset[str]
    files: frozenset[str]
    sysctls: frozenset[str]

    def changes(self, after: Footprint) -> dict[str, list[str]]:
        """Name what came and what went."""
        found = {}
        for field in fields(self):
            old, new = getattr(self, field.name), getattr(after, field.name)
            if old != new:
                found[field.name] = sorted([f"+ {line}" for line in new - old] + [f"- {line}" for line in old - new])
        return found


def footprint() -> Footprint:
    return Footprint(
        interfaces=_said("ip", "-o", "link"),
        addresses=_said("ip", "-o", "address"),
        routes=_said("ip", "route", "show", "table", "all") | _said("ip", "-6", "route", "show", "table", "all"),
        rules=_said("ip", "rule") | _said("ip", "-6", "rule"),
        netfilter=_said("iptables-save") | _said("ip6tables-save"),
        mounts=frozenset(Path("/proc/self/mounts").read_text().splitlines()),
        files=frozenset(_listed()),
        sysctls=frozenset(_settings()),
    )


def _said(*command: str) -> frozenset[str]:
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    # Lifetimes and counters run on.
    return frozenset(
        re.sub(r"expires \d+sec|(valid|preferred)_lft \d+sec", "", line) for line in _uncounted(done.stdout)
    )


def _uncounted(text: str) -> list[str]:
    return [re.sub(r"\[\d+:\d+\]", "", line) for line in text.splitlines() if not line.startswith("#")]


def _listed() -> list[str]:
    return [str(path) for place in _PLACES if Path(place).is_dir() for path in Path(place).iterdir()]


def _settings() -> list[str]:
    found = []
    for pattern in _SYSCTLS:
        for path in Path("/proc/sys").glob(pattern):
            if (
                path.is_file()
                and os.access(path, os.R_OK)
                and not re.search(r"/neigh/|conntrack_count|/route/", str(path))
            ):
                try:
                    found.append(f"{path}: {path.read_text().strip()}")
                except OSError:
                    continue  # one that can only be written
    return found

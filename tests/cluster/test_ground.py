"""A ground cannot reach the machine it stands on, and ends with whoever started it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cluster.mesh import eventually
from cluster.programs import HERE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cluster.ground import Ground

_HOLD = (
    "import time; from cluster.ground import ground\nwith ground() as it: print(it.pid, flush=True); time.sleep(600)"
)
_DIAL = "import socket, sys; socket.create_connection((sys.argv[1], 53), timeout=2)"


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Start a process that holds a ground and says the number of its first process."""
    environment = {**os.environ, "PYTHONPATH": str(HERE.parent), "TMPDIR": str(tmp_path)}
    with subprocess.Popen([sys.executable, "-c", _HOLD], env=environment, stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.kill()


def test_killing_whoever_started_it_ends_all_of_it(holder: subprocess.Popen[str]) -> None:
    assert holder.stdout
    first = Path("/proc", holder.stdout.readline().strip())
    below = [Path("/proc", pid) for pid in (first / "task" / first.name / "children").read_text().split()]
    assert len(below) >= 8
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    eventually(lambda: not any(process.exists() for process in (first, *below)), "no process of it is left")


@pytest.mark.parametrize("address", ["192.0.2.1", "10.0.0.1", "127.0.0.53"])
def test_nothing_outside_can_be_reached(kubernetes: Ground, address: str) -> None:
    tried = kubernetes.run(sys.executable, "-c", _DIAL, address)
    assert tried.returncode == 1
    assert "unreachable" in tried.stderr or "refused" in tried.stderr


def test_the_machine_has_no_address_inside(kubernetes: Ground) -> None:
    inside = kubernetes.say("ip", "-o", "-4", "address").splitlines()
    assert {line.split()[3] for line in inside if line.split()[1] == "lo"} == {"127.0.0.1/8", "10.99.0.1/32"}
    assert "default" not in kubernetes.say("ip", "route", "show", "table", "all")

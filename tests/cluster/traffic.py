"""Requests between pods, round after round: whoever changes a root under them learns whether somebody was refused."""

from __future__ import annotations

import subprocess
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from threading import Lock, Thread
from typing import TYPE_CHECKING

from cluster.ground import GroundError
from cluster.mesh import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cluster.mesh import Mesh
    from cluster.workloads import Workload

Pair = tuple[str, str]

# Runs in a pod until its stdin ends. wget would not print what Envoy says in a 503.
# A short sleep for each round, or the machine would do nothing else.
_ASK = """
exec 3<&0
here=/tmp/asking.$$
: >$here
(cat <&3 >/dev/null; busybox rm $here) &
while [ -e $here ]; do
    for host in "$@"; do
        export host
        said=$(timeout 10 nc "$host" 80 -e /bin/sh -c \
            'printf "GET / HTTP/1.1\\r\\nHost: $host\\r\\nConnection: close\\r\\n\\r\\n"; cat >&2' 2>&1)
        echo "$host" $said
    done
    sleep 0.05
done
"""
_FINE = "HTTP/1.1 200"
# A pod that has just come is not known to all at once. What counts begins with the first connection that is tried.
_TRIED = "connection failure"


# Where nobody was reached, nobody was refused: on a busy machine a probe is late, and its pod is no peer for a while.
_NOT_REACHED = ("no healthy upstream", "connection timeout", "no answer")


@dataclass(frozen=True, slots=True)
class Failure:
    """One request that was refused, and what stood in the place of an answer."""

    at: datetime
    pair: Pair
    said: str


class Traffic:
    """What came of all requests so far. A pair of asker and asked counts from its first connection on.

    No pod that takes part may end before the traffic does: that would be a failure, and not one of TLS.
    """

    def __init__(self, mesh: Mesh) -> None:
        self._mesh = mesh
        self._joined: list[Workload] = []
        self._loops: list[_Loop] = []
        self._lock = Lock()
        self._asked: Counter[Pair] = Counter()
        self._failed: list[Failure] = []

    @property
    def failed(self) -> tuple[Failure, ...]:
        with self._lock:
            return tuple(self._failed)

    @property
    def failing(self) -> set[Pair]:
        return {failure.pair for failure in self.failed}

    @property
    def requests(self) -> int:
        """How many of the pair that has asked least: zero failures of zero requests would be no news."""
        with self._lock:
            return min(self._asked[pair] for pair in self._pairs())

    def join(self, *workloads: Workload) -> None:
        """Let these ask all others and be asked by them; comes back when each pair counts."""
        for asker in self._joined:
            self._ask(asker, workloads)
        for asker in workloads:
            self._ask(asker, [*self._joined, *(other for other in workloads if other != asker)])
        self._joined += workloads
        eventually(lambda: self.requests > 0, "every pair has tried to connect")

    def go_on(self, requests: int = 20) -> None:
        """Come back when every pair has asked so many times more."""
        enough = self.requests + requests
        eventually(lambda: self.requests >= enough, f"{requests} more requests of every pair")

    def stop(self) -> list[str]:
        """Stop all; gives those that had stopped before, and so have missed what came."""
        return [loop.asker for loop in self._loops if not loop.stop()]

    def _ask(self, asker: Workload, asked: list[Workload] | tuple[Workload, ...]) -> None:
        if asked:
            self._loops.append(_Loop(self, asker, {one.host: one.name for one in asked}))

    def _pairs(self) -> Iterator[Pair]:
        names = [workload.name for workload in self._joined]
        return ((one, other) for one in names for other in names if one != other)

    def hear(self, pair: Pair, said: str) -> None:
        """Count an answer, from the first one on that comes of a connection."""
        fine = said.startswith(_FINE)
        with self._lock:
            if not (fine or _TRIED in said or self._asked[pair]) or any(words in said for words in _NOT_REACHED):
                return
            self._asked[pair] += 1
            if not fine:
                self._failed.append(Failure(datetime.now(UTC), pair, said))

    def start(self, asker: Workload, hosts: list[str]) -> subprocess.Popen[bytes]:
        where = ("-n", asker.namespace, f"deployment/{asker.name}", "-c", "app")
        ground = self._mesh.ground
        return subprocess.Popen(
            ground.command("kubectl", "exec", "-i", *where, "--", "sh", "-c", _ASK, "ask", *hosts),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=ground.environment,
        )


class _Loop:
    """One pod that asks some others, and a thread that hears what they say."""

    def __init__(self, traffic: Traffic, asker: Workload, names: dict[str, str]) -> None:
        self.asker = asker.name
        self._process = traffic.start(asker, list(names))
        self._traffic, self._names = traffic, names
        self._ears = Thread(target=self._listen)
        self._ears.start()

    def stop(self) -> bool:
        """Let it come to its end; false where it had ended before."""
        asking = self._process.poll() is None
        if self._process.stdin:
            self._process.stdin.close()
        try:
            self._process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._ears.join()
        if self._process.stdout:
            self._process.stdout.close()
        return asking

    def _listen(self) -> None:
        for line in self._process.stdout or ():
            if line.endswith(b"\n"):  # the last one may be cut off
                host, _, said = line.decode().replace("\r", "").strip().partition(" ")
                self._traffic.hear((self.asker, self._names[host]), said or "no answer within 10 seconds")


@contextmanager
def traffic(mesh: Mesh, *workloads: Workload) -> Iterator[Traffic]:
    """Let these workloads ask each other for as long as it takes; in the end nobody asks any more."""
    running = Traffic(mesh)
    try:
        running.join(*workloads)
        yield running
    finally:
        ended = running.stop()
    if ended:
        raise GroundError(f"did not ask until the end: {', '.join(ended)}")

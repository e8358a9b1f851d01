"""Asking many proxies at once: so many at a time, spread over the nodes, until all are asked or time is up."""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from queue import Empty, Full, Queue
from threading import Condition, Thread
from time import monotonic
from typing import TYPE_CHECKING

from meshtrust.errors import ToolError, Unreachable
from meshtrust.mesh import Memory, Proxy, read_memory

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from meshtrust.source import Source

_SUSPECT = 2  # proxies asked at a time on a node where none has answered and one was asked in vain
_GRACE = 0.5  # seconds for those that are about to be done when time is up
_TICK = 0.1  # seconds between two looks at the deadline

Answer = tuple[Memory, ...] | ToolError


class Asking:
    """Threads take proxies from it, node by node in turn, and put answers into a queue that is never long."""

    def __init__(self, source: Source, proxies: Iterable[Proxy], concurrency: int) -> None:
        self._source = source
        self._waiting: dict[str, deque[Proxy]] = {}
        for proxy in proxies:
            self._waiting.setdefault(proxy.node, deque()).append(proxy)
        self._turn = deque(self._waiting)
        self._busy = dict.fromkeys(self._waiting, 0)
        self._suspect: dict[str, bool] = {}  # False once a proxy of the node has answered
        self._concurrency = concurrency
        self._changed = Condition()
        self._stopped = False
        self._answers: Queue[tuple[Proxy, Answer]] = Queue(2 * concurrency)

    def answers(self, deadline: float | None) -> Iterator[tuple[Proxy, Answer]]:
        """Each proxy with what it holds, or why it was not seen, as they come; not those left when time is up."""
        left = sum(len(proxies) for proxies in self._waiting.values())
        # They end with the process: one that hangs in a connection must not hold up the report.
        threads = [Thread(target=self._work, name="asking", daemon=True) for _ in range(min(self._concurrency, left))]
        for thread in threads:
            thread.start()
        try:
            while left and (deadline is None or monotonic() < deadline):
                try:
                    answered = self._answers.get(timeout=_TICK)
                except Empty:
                    continue
                left -= 1
                yield answered
        finally:
            with self._changed:
                self._stopped = True
                self._changed.notify_all()
            grace = monotonic() + _GRACE
            for thread in threads:
                thread.join(max(grace - monotonic(), 0))

    def _work(self) -> None:
        while (proxy := self._take()) is not None:
            answer: Answer
            try:
                answer = self._ask(proxy)
            except Exception as error:  # noqa: BLE001 - a thread that dies would leave its proxy out of the report
                answer = Unreachable(f"{type(error).__name__}: a defect of this program")
            self._done(proxy, answer)
            while not self._stopped:
                with suppress(Full):
                    self._answers.put((proxy, answer), timeout=_TICK)
                    break

    def _ask(self, proxy: Proxy) -> Answer:
        try:
            return read_memory(self._source, proxy)
        except ToolError as error:
            return error

    def _take(self) -> Proxy | None:
        with self._changed:
            while not self._stopped:
                for _ in range(len(self._turn)):
                    node = self._turn[0]
                    self._turn.rotate(-1)
                    if self._waiting[node] and self._busy[node] < self._limit(node):
                        self._busy[node] += 1
                        return self._waiting[node].popleft()
                if not any(self._waiting.values()):
                    return None
                self._changed.wait()
            return None

    def _limit(self, node: str) -> int:
        return _SUSPECT if self._suspect.get(node) else self._concurrency

    def _done(self, proxy: Proxy, answer: Answer) -> None:
        with self._changed:
            self._busy[proxy.node] -= 1
            if isinstance(answer, Unreachable):
                self._suspect.setdefault(proxy.node, True)
            elif not isinstance(answer, ToolError):
                self._suspect[proxy.node] = False
            self._changed.notify_all()

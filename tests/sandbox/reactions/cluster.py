"""What all that reacts shares: the store, the time, the proxies, and who runs."""

from __future__ import annotations

import asyncio
import base64
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sandbox import editing
from sandbox.resources import Target
from sandbox.shapes import meta, secret, with_manager

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator, Mapping
    from datetime import datetime

    from sandbox.forwarding import Admin
    from sandbox.lively import Lively
    from sandbox.mesh import Mesh, Proxy
    from sandbox.reactions.programs import Pod, Program
    from sandbox.shapes import Body
    from sandbox.store import Store

Place = tuple[str, str]  # namespace and name


@dataclass(slots=True)
class Cluster:
    """`programs` is what runs in pods that have started, `proxies` what is described of the proxy in a pod."""

    store: Store
    lively: Lively
    meshes: tuple[Mesh, ...]
    proxies: dict[Place, tuple[Mesh, Proxy]]
    admins: dict[Place, Admin]
    now: Callable[[], datetime]
    pods: dict[Place, Pod] = field(default_factory=dict)
    programs: dict[Place, Program] = field(default_factory=dict)
    failure: BaseException | None = None
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    # Time

    async def sleep(self, seconds: float) -> None:
        """Let so many seconds of a real cluster pass."""
        await asyncio.sleep(seconds * self.lively.pace)

    def until(self, moment: datetime) -> float:
        """Give the seconds that pass here until a moment in the life of a leaf."""
        left = (moment - self.now()).total_seconds()
        return max(left, 0) * (self.lively.leaves or self.lively.pace)

    def spawn(self, what: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Let something happen beside; where it fails, the server says so when it ends."""
        task = asyncio.ensure_future(what)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    async def end(self) -> None:
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self.failure = self.failure or task.exception()

    # Objects

    def find(self, kind: str, namespace: str, name: str) -> Body | None:
        entry = self.store.find(Target(self.store.catalogue.named(kind), namespace, name))
        return None if entry is None else entry.body

    def every(self, kind: str, namespace: str = "") -> Iterator[Body]:
        if not self.store.catalogue.knows(kind):
            return
        for entry in self.store.now(self.store.catalogue.named(kind)):
            if namespace in ("", entry.body["metadata"].get("namespace", "")):
                yield entry.body

    def change(self, body: Body, patch: Body) -> Body:
        """Merge a patch into an object and write it; give it as it is then."""
        changed: Body = editing.merged(body, patch)
        self.store.update(changed)
        return changed

    def write(self, body: Body, patch: Body, manager: str) -> None:
        """The same, with the name of who writes."""
        self.store.update(with_manager(editing.merged(body, patch), manager, self.now(), patch))

    def make_secret(self, name: str, namespace: str, kind: str, texts: Mapping[str, str], manager: str) -> None:
        body = secret(meta(name, namespace, self.now()), kind, texts)
        self.store.put(with_manager(body, manager, self.now()))

    def write_secret(self, body: Body, texts: Mapping[str, str], manager: str) -> None:
        encoded = {key: base64.b64encode(text.encode()).decode() for key, text in texts.items()}
        self.write(body, {"data": encoded}, manager)

    # Who is there

    def hanging(self) -> dict[Place, Proxy]:
        """The proxies that are there by now."""
        return {place: proxy for place, (_, proxy) in self.proxies.items() if place in self.pods}

    def serves(self, place: Place) -> bool:
        """Say whether a Service would send anybody to a pod."""
        pod = self.pods.get(place)
        return pod is not None and pod.is_ready and not pod.ending

    def mesh_of(self, namespace: str) -> Mesh | None:
        """The mesh whose control plane lives in a namespace."""
        return next((mesh for mesh in self.meshes if mesh.era != "none" and mesh.home == namespace), None)

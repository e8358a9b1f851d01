"""What runs in a pod, and the kubelet that starts and ends it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Protocol

from sandbox.reactions.replicas import is_ending, is_ready, place_of
from sandbox.resources import Target
from sandbox.shapes import Body, stamp
from sandbox.workloads import pod_status

if TYPE_CHECKING:
    from collections.abc import Callable

    from sandbox.reactions.cluster import Cluster, Place

_START = 1.0  # seconds from a pod's creation to its first program
_BACK_OFF = (10, 20, 40, 80, 160, 300)


class Exited(Exception):
    """A program that ended by itself, with a complaint."""


class Program(Protocol):
    """`lingers` is how many seconds it works on after SIGTERM; ready, it says so by `pod.ready`."""

    lingers: float

    async def run(self, pod: Pod) -> None:
        """Do its work until it is cancelled; raises `Exited`."""
        ...


class Plain:
    """A program that has nothing to do with trust."""

    lingers = 1.0

    async def run(self, pod: Pod) -> None:
        if not pod.resumed:
            await pod.cluster.sleep(2)
            pod.ready(True)
        await asyncio.Event().wait()


class Pod:
    """One pod as its program sees it; `resumed` where it was at work before the sandbox began."""

    def __init__(self, cluster: Cluster, place: Place) -> None:
        self.cluster = cluster
        self.place = place
        self.is_ready = False
        self.restarts = 0
        self.ending = False
        self.resumed = False
        self.since = ""  # of its program

    @property
    def body(self) -> Body | None:
        return self.cluster.find("Pod", *self.place)

    def ready(self, ready: bool) -> None:
        self.is_ready = ready
        self.show("Running")

    def show(self, phase: str, waiting: str = "") -> None:
        """Write the pod's status."""
        body = self.body
        if body is None:
            return
        status = pod_status(self.place[1], body["spec"], self.since, phase=phase, ready=self.is_ready)
        status["startTime"] = body["status"]["startTime"]
        for one in status["containerStatuses"]:
            one["restartCount"] = self.restarts
            if waiting:
                one["state"], one["started"] = {"waiting": {"reason": waiting}}, False
        self.cluster.store.update({**body, "status": status})


class Kubelet:
    """Starts what runs in pods, and ends it; `program_of` says what that is."""

    def __init__(self, cluster: Cluster, program_of: Callable[[Body], Program]) -> None:
        self._cluster = cluster
        self._program_of = program_of
        self._lives: dict[Place, asyncio.Task[None]] = {}

    def adopt(self, body: Body) -> None:
        """Take over a pod that is described; one that is not ready starts its program again."""
        place = place_of(body)
        pod = self._cluster.pods[place] = Pod(self._cluster, place)
        pod.ending = is_ending(body)
        if body["status"]["phase"] == "Running":
            pod.is_ready, pod.resumed = is_ready(body), True
            pod.since = body["status"]["startTime"]
            self._lives[place] = self._cluster.spawn(self._work(pod, body))

    def start(self, body: Body, like: Place | None = None) -> None:
        """Start a new pod; the proxy in it is the one of the pod that it is like."""
        place = place_of(body)
        if like in self._cluster.proxies:
            mesh, proxy = self._cluster.proxies[like]
            anew = replace(proxy, started=self._cluster.now() - mesh.now, phase="Running", ready=True, ending=False)
            self._cluster.proxies[place] = mesh, anew
        self._cluster.pods[place] = Pod(self._cluster, place)
        status = pod_status(place[1], body["spec"], stamp(self._cluster.now()), phase="Pending")
        self._cluster.store.put({**body, "status": status})
        self._lives[place] = self._cluster.spawn(self._live(self._cluster.pods[place]))

    def stop(self, place: Place) -> None:
        """Delete a pod as the API does: it is ending first, and gone when its program has ended."""
        pod, body = self._cluster.pods.get(place), self._cluster.find("Pod", *place)
        if body is None or pod is None or pod.ending:
            return
        pod.ending = True
        grace = body["spec"].get("terminationGracePeriodSeconds", 30)
        ends = stamp(self._cluster.now() + timedelta(seconds=grace))
        self._cluster.change(body, {"metadata": {"deletionTimestamp": ends, "deletionGracePeriodSeconds": grace}})
        self._cluster.spawn(self._end(place, grace))

    async def _live(self, pod: Pod) -> None:
        await self._cluster.sleep(_START)
        body = pod.body
        if body is None:
            return
        pod.since = stamp(self._cluster.now())
        pod.show("Running")
        await self._work(pod, body)

    async def _work(self, pod: Pod, body: Body) -> None:
        while True:
            program = self._cluster.programs[pod.place] = self._program_of(body)
            try:
                await program.run(pod)
                await asyncio.Event().wait()  # one that has nothing more to do stays
            except Exited:
                pod.is_ready = pod.resumed = False
                pod.restarts += 1
                pod.show("Running", waiting="CrashLoopBackOff")
                await self._cluster.sleep(_BACK_OFF[min(pod.restarts, len(_BACK_OFF)) - 1])
                pod.since = stamp(self._cluster.now())

    async def _end(self, place: Place, grace: float) -> None:
        program = self._cluster.programs.get(place)
        await self._cluster.sleep(min(grace, program.lingers if program is not None else 0))
        life = self._lives.pop(place, None)
        if life is not None:
            life.cancel()
            await asyncio.gather(life, return_exceptions=True)
        self._cluster.programs.pop(place, None)
        self._cluster.admins.pop(place, None)
        self._cluster.pods.pop(place)
        self._cluster.store.delete(Target(self._cluster.store.catalogue.named("Pod"), *place))

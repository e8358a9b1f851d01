"""Proxies that ask an istiod for certificates: when they start, and when half of a leaf's life is over."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from sandbox import envoy, ztunnel
from sandbox.forwarding import Admin, listens
from sandbox.reactions.istiod import Istiod

if TYPE_CHECKING:
    from datetime import datetime

    from sandbox.envoy import Held
    from sandbox.mesh import Mesh, Proxy
    from sandbox.reactions.cluster import Cluster, Place
    from sandbox.reactions.programs import Pod
    from sandbox.reactions.signing import Signing

_RETRY = 1.0  # seconds


class Envoy:
    """A proxy beside a pilot-agent. A leaf that was overdue before anything began stays: that agent does not renew."""

    lingers = 1.0

    def __init__(self, cluster: Cluster, mesh: Mesh, proxy: Proxy) -> None:
        self._cluster = cluster
        self._mesh = mesh
        self._proxy = proxy
        self.due = asyncio.Event()

    async def run(self, pod: Pod) -> None:
        held = envoy.described(self._mesh, self._proxy) if pod.resumed else await self._renewed(pod.place)
        if not pod.resumed:
            await self._cluster.sleep(1)
            pod.ready(True)
        elif _half(held) < self._cluster.now():
            await self.due.wait()
            held = await self._renewed(pod.place)
        while True:
            self.due.clear()
            await _either(self._cluster, _half(held), self.due)
            held = await self._renewed(pod.place)

    async def _renewed(self, place: Place) -> Held:
        signer = await signer_of(self._cluster, self._mesh, self._proxy.revision)
        held = signer.issue(envoy.identity_of(self._mesh, self._proxy), self._cluster.now())
        if listens(self._proxy):
            self._cluster.admins[place] = Admin(self._mesh, self._proxy, place[1], held)
        return held


class Ztunnel:
    """A proxy of a node: each of its identities is renewed for itself."""

    lingers = 1.0

    def __init__(self, cluster: Cluster, mesh: Mesh, proxy: Proxy) -> None:
        self._cluster = cluster
        self._mesh = mesh
        self._proxy = proxy
        self.due = asyncio.Event()

    async def run(self, pod: Pod) -> None:
        fresh = not pod.resumed
        if fresh:
            self._proxy = replace(
                self._proxy, identities=tuple(replace(one, state="Available") for one in self._proxy.identities)
            )
            self._cluster.admins[pod.place] = Admin(self._mesh, self._proxy, pod.place[1])
        async with asyncio.TaskGroup() as work:
            for identity in self._proxy.identities:
                held = ztunnel.described(self._mesh, identity)
                uri = ztunnel.identity_of(self._mesh, identity)
                work.create_task(self._keep(pod.place, uri, None if fresh else held))
            if fresh:
                await self._cluster.sleep(2)
                pod.ready(True)

    async def _keep(self, place: Place, uri: str, held: Held | None) -> None:
        if held is not None and _half(held) < self._cluster.now():
            await self.due.wait()
            held = None
        while True:
            if held is not None:
                await _either(self._cluster, _half(held), self.due)
            signer = await signer_of(self._cluster, self._mesh, self._proxy.revision)
            held = signer.issue(uri, self._cluster.now())
            admin = self._cluster.admins.get(place)
            if admin is not None:
                self._cluster.admins[place] = replace(admin, renewed={**admin.renewed, uri: held})
            self.due.clear()


async def signer_of(cluster: Cluster, mesh: Mesh, revision: str) -> Signing:
    """Wait for an istiod of this revision that is ready, or of any where there is none of it at all."""
    while True:
        running = [
            (place, one) for place, one in cluster.programs.items() if isinstance(one, Istiod) and one.mesh is mesh
        ]
        own = [(place, one) for place, one in running if one.revision == revision]
        for place, one in reversed(own or running):
            if cluster.serves(place) and one.memory is not None:
                return one.memory
        await cluster.sleep(_RETRY)


def _half(held: Held) -> datetime:
    since, until = held.leaf.not_valid_before_utc, held.leaf.not_valid_after_utc
    return since + (until - since) / 2


async def _either(cluster: Cluster, moment: datetime, due: asyncio.Event) -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(due.wait(), cluster.until(moment))

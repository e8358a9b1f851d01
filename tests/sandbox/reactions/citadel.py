"""A Citadel: it loads its root at the start or exits, and keeps the Secrets of workloads, one after the other."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

from sandbox import shapes
from sandbox.issuing import key_pem, pem
from sandbox.reactions import signing
from sandbox.reactions.programs import Exited
from sandbox.reactions.rotator import Rotator
from sandbox.reactions.signing import Signing, Unloadable

if TYPE_CHECKING:
    from sandbox.entries import Change
    from sandbox.mesh import Mesh
    from sandbox.reactions.cluster import Cluster, Place
    from sandbox.reactions.programs import Pod
    from sandbox.shapes import Body

_RESYNC = 60  # seconds, from its start on
_APIECE = 0.4  # seconds: 5 requests a second, two for each Secret
_AGAIN = 30  # seconds between two looks at its own Secret
_WATCH = 0.05  # seconds from a change to the look at it


class Citadel:
    lingers = 30.0  # it ignores SIGTERM, and works on until it is killed

    def __init__(self, cluster: Cluster, mesh: Mesh, pod: Body) -> None:
        (container,) = (one for one in pod["spec"]["containers"] if one["name"] == "citadel")
        self._cluster = cluster
        self.mesh = mesh
        self.memory: Signing | None = None
        self.secret = "istio-ca-secret" if "--self-signed-ca=true" in container.get("args", ()) else ""
        self._name = pod["metadata"]["name"]
        self._random = random.Random(self._name)  # noqa: S311 - an order, the same in each run
        self._due: asyncio.Queue[Place] = asyncio.Queue()
        self._may_look = True
        self._rotator = Rotator(self, cluster, container, self._name)

    async def run(self, pod: Pod) -> None:
        working = pod.resumed and pod.is_ready
        self.memory = signing.of_description(self.mesh) if working else self._load()
        if not working:
            await self._cluster.sleep(_WATCH)
            self.tell()
            pod.ready(True)
        self._cluster.store.listeners.append(self._see)
        try:
            async with asyncio.TaskGroup() as work:
                work.create_task(self._resync())
                work.create_task(self._refresh())
                work.create_task(self._rotator.run(resumed=working))
        finally:
            self._cluster.store.listeners.remove(self._see)

    def tick(self) -> None:
        self._rotator.tick()

    def tell(self) -> None:
        """Write the root where node agents read it: base64 inside of a ConfigMap."""
        assert self.memory is not None
        home = self.mesh.home
        body = self._cluster.find("ConfigMap", home, "istio-security")
        if body is None:
            body = shapes.config_map(shapes.meta("istio-security", home, self._cluster.now()), {})
        told = self.memory.chain or self.memory.roots
        encoded = shapes.base64_text(pem(told))
        self._cluster.change(body, {"data": {"caTLSRootCert": encoded}})

    def _load(self) -> Signing:
        """Load the root, or make one of a NEW KEY where there is none; what cannot be loaded ends it."""
        now = self._cluster.now()
        try:
            if not self.secret:
                mounted = signing.texts_of(self._cluster.find("Secret", self.mesh.home, "cacerts"))
                return signing.load_plugged(mounted, now)
            body = self._cluster.find("Secret", self.mesh.home, self.secret)
            if body is None:
                return self._rotator.make_root()
            return signing.load_self_signed(signing.texts_of(body), "", now)
        except Unloadable as error:
            raise Exited(f"failed to create a self-signed Citadel (error: {error})") from error

    # The Secrets of workloads

    async def _resync(self) -> None:
        """Look at all of them every minute; the first minute after its start nothing happens."""
        while True:
            await self._cluster.sleep(_RESYNC)
            places = [self._place(body) for body in self._workload_secrets()]
            self._random.shuffle(places)
            for place in places:
                self._due.put_nowait(place)

    def _see(self, change: Change) -> None:
        """A Secret that somebody changes is looked at at once."""
        if change.new is not None and change.new.body.get("type") == "istio.io/key-and-cert":
            self._due.put_nowait(self._place(change.new.body))

    async def _refresh(self) -> None:
        while True:
            place = await self._due.get()
            body = self._cluster.find("Secret", *place)
            if body is None or not self._is_stale(body):
                continue
            if self._looks_again and self._may_look:
                self._may_look = False
                self._cluster.spawn(self._rest())
                self._rotator.reload(quietly=True)
            if self._is_stale(body) and self._serves(place[0]):
                self._write(body)
                await self._cluster.sleep(_APIECE)

    @property
    def _looks_again(self) -> bool:
        """Since 1.2.9, 1.3.5 and 1.4.0 it reads its own Secret where one of a workload has another root."""
        return bool(self.secret) and self._rotator.exists

    async def _rest(self) -> None:
        await self._cluster.sleep(_AGAIN)
        self._may_look = True

    def _is_stale(self, body: Body) -> bool:
        assert self.memory is not None
        return signing.texts_of(body).get("root-cert.pem", "") != self.memory.bundle

    def _write(self, body: Body) -> None:
        assert self.memory is not None
        namespace = body["metadata"]["namespace"]
        account = body["metadata"].get("annotations", {}).get("istio.io/service-account.name", "")
        identity = f"spiffe://{self.mesh.trust_domain}/ns/{namespace}/sa/{account}"
        held = self.memory.issue(identity, self._cluster.now(), citadel=True)
        above = [one for one in self.memory.chain if one not in self.memory.roots]
        texts = {"cert-chain.pem": pem([held.leaf, *above]), "key.pem": key_pem("leaf")}
        texts["root-cert.pem"] = self.memory.bundle
        self._cluster.write_secret(body, texts, "istio_ca")

    def _workload_secrets(self) -> list[Body]:
        return [body for body in self._cluster.every("Secret") if body.get("type") == "istio.io/key-and-cert"]

    def _serves(self, namespace: str) -> bool:
        body = self._cluster.find("Namespace", "", namespace)
        labels = {} if body is None else body["metadata"].get("labels", {})
        if (wanted := labels.get("ca.istio.io/override")) in ("true", "false"):
            return bool(wanted == "true")
        return bool(labels.get("ca.istio.io/env", self.mesh.home) == self.mesh.home)

    @staticmethod
    def _place(body: Body) -> Place:
        return body["metadata"]["namespace"], body["metadata"]["name"]

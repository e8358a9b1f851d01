"""An istiod: what it loads at its start and at each tick of its rotator, and what it signs with."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from sandbox.forwarding import Istiod as IstiodAdmin
from sandbox.mesh import Proxy
from sandbox.reactions import signing
from sandbox.reactions.programs import Exited
from sandbox.reactions.publishing import Lock, Publisher, Webhooks
from sandbox.reactions.rotator import Rotator
from sandbox.reactions.signing import Signing, Unloadable

if TYPE_CHECKING:
    from sandbox.mesh import Mesh
    from sandbox.reactions.cluster import Cluster
    from sandbox.reactions.programs import Pod
    from sandbox.shapes import Body


class Istiod:
    lingers = 6.0  # seconds; old and new were seen beside each other for 3 to 9

    def __init__(self, cluster: Cluster, mesh: Mesh, pod: Body) -> None:
        (container,) = (one for one in pod["spec"]["containers"] if one["name"] == "discovery")
        self._cluster = cluster
        self._env = {one["name"]: one.get("value", "") for one in container.get("env", ())}
        self.mesh = mesh
        self.revision = pod["metadata"]["labels"].get("istio.io/rev", "")
        self.name = pod["metadata"]["name"]
        self.memory: Signing | None = None
        self.secret = ""  # the Secret of the root that it looks after; none where the CA is plugged in
        self._rotator = Rotator(self, cluster, container, self.name)
        self._webhooks = Webhooks(self, cluster)
        self._publisher = Publisher(self, cluster)
        self._lock = Lock(self, cluster, self._publisher)

    @property
    def home(self) -> str:
        return self.mesh.home

    @property
    def leads(self) -> bool:
        return self._lock.is_held

    async def run(self, pod: Pod) -> None:
        working = pod.resumed and pod.is_ready
        if working:
            self.memory = signing.of_description(self.mesh)
            self.secret = self._chosen()[0]
            self._lock.take_at_first()
        else:
            await self._load_patiently()
        self._listen(pod)
        async with asyncio.TaskGroup() as work:
            for part in (self._webhooks, self._publisher, self._lock):
                work.create_task(part.run())
            work.create_task(self._rotator.run(resumed=working))
            if not working:
                self.tell()
                await self._cluster.sleep(1)
                pod.ready(True)

    def tick(self) -> None:
        self._rotator.tick()

    def tell(self) -> None:
        """Let webhooks and, where it holds the lock, the copies follow what it has in memory."""
        self._webhooks.due.set()
        self._publisher.due.set()

    def _listen(self, pod: Pod) -> None:
        told = Proxy("istiod", self.home, version=self._rotator.version)
        self._cluster.admins[pod.place] = IstiodAdmin(self.mesh, told, self.name, hanging=self._cluster.hanging)

    # The CA

    async def _load_patiently(self) -> None:
        """Try until there is a CA, with gaps of 1 to 11 seconds; what it cannot start with at all ends it."""
        gap = 1.0
        while self.memory is None:
            try:
                self.memory = self._load()
            except Unloadable:
                await self._cluster.sleep(gap)
                gap = min(gap * 1.6, 11)

    def _load(self) -> Signing:
        self.secret, texts = self._chosen()
        now = self._cluster.now()
        if not self.secret:
            try:
                return signing.load_plugged(self._texts("cacerts"), now)
            except Unloadable as error:
                raise Exited(str(error)) from error
        if not texts:
            return self._rotator.make_root()
        return signing.load_self_signed(texts, self._rotator.mounted(), now)

    def _chosen(self) -> tuple[str, dict[str, str]]:
        """Say which Secret keeps the root that it looks after, and what stands in it; none for a plugged-in CA."""
        mounted, generated = self._texts("cacerts"), self._env.get("USE_CACERTS_FOR_SELF_SIGNED_CA") == "true"
        own = self._texts("istio-ca-secret")
        if generated and (not mounted or "istio-generated" in mounted):
            return ("istio-ca-secret", own) if own else ("cacerts", mounted)
        if self._is_plugged(mounted):
            return "", {}
        return "istio-ca-secret", own

    def _is_plugged(self, mounted: dict[str, str]) -> bool:
        try:
            lacking = signing.plugged_parts(mounted)
        except ValueError:
            return False
        if lacking and self._rotator.release >= (1, 27):
            raise Exited("failed to create an istiod CA: incomplete signing CA bundle detected")
        return not lacking or "ca-key.pem" in mounted

    def _texts(self, name: str) -> dict[str, str]:
        return signing.texts_of(self._cluster.find("Secret", self.home, name))

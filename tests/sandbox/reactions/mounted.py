"""Who reads certificates from a mounted Secret (Citadel era): Envoys and the sidecar injector."""

from __future__ import annotations

import asyncio
import random
from contextlib import contextmanager
from typing import TYPE_CHECKING

from cryptography import x509

from sandbox.envoy import Held
from sandbox.forwarding import Admin, listens
from sandbox.reactions.signing import texts_of
from sandbox.shapes import base64_text, with_bundle

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sandbox.entries import Change
    from sandbox.mesh import Mesh, Proxy
    from sandbox.reactions.cluster import Cluster, Place
    from sandbox.reactions.programs import Pod

_SYNC = 60.0  # seconds: the longest that kubelet takes
_DEBOUNCE = 10.0  # seconds: of pilot-agent, before its Envoy starts anew


class Mount:
    """One Secret as it shows in a folder of a pod: `due` where that is another from some time on."""

    def __init__(self, cluster: Cluster, namespace: str, name: str) -> None:
        self._cluster = cluster
        self._place = namespace, name
        self._random = random.Random(f"{namespace}/{name}")  # noqa: S311 - a delay, the same in each run
        self.due = asyncio.Event()

    @property
    def texts(self) -> dict[str, str]:
        return texts_of(self._cluster.find("Secret", *self._place))

    async def change(self) -> None:
        """Wait for the next change, and until kubelet has seen it."""
        await self.due.wait()
        await self._cluster.sleep(self._random.random() * _SYNC)
        self.due.clear()

    @contextmanager
    def watched(self) -> Iterator[None]:
        self._cluster.store.listeners.append(self._see)
        try:
            yield
        finally:
            self._cluster.store.listeners.remove(self._see)

    def _see(self, change: Change) -> None:
        if change.resource.kind == "Secret" and change.key == "/".join(self._place):
            self.due.set()


class Mounted:
    """An Envoy that takes what its mounted Secret holds, some time after that was changed.

    Agents of 1.1.3 to 1.1.7 miss the change: their Envoys hold it after the next start of their pod only.
    """

    lingers = 1.0

    def __init__(self, cluster: Cluster, mesh: Mesh, proxy: Proxy) -> None:
        self._cluster = cluster
        self._mesh = mesh
        self._proxy = proxy
        self._mount = Mount(cluster, proxy.namespace, f"istio.{proxy.account or proxy.name}")
        self.due = self._mount.due

    async def run(self, pod: Pod) -> None:
        if not pod.resumed:
            self._take(pod.place)
            await self._cluster.sleep(1)
            pod.ready(True)
        if (1, 1, 3) <= _version(self._proxy.version or self._mesh.version) < (1, 1, 8):
            await asyncio.Event().wait()
        with self._mount.watched():
            while True:
                await self._mount.change()
                await self._cluster.sleep(_DEBOUNCE)
                self._take(pod.place)

    def _take(self, place: Place) -> None:
        texts = self._mount.texts
        try:
            leaf, *chain = x509.load_pem_x509_certificates(texts.get("cert-chain.pem", "").encode())
            roots = x509.load_pem_x509_certificates(texts.get("root-cert.pem", "").encode())
        except ValueError:
            return  # what it cannot read it does not take
        if listens(self._proxy):
            held = Held(leaf, tuple(chain), tuple(roots), self._cluster.now())
            self._cluster.admins[place] = Admin(self._mesh, self._proxy, place[1], held)


class Injector:
    """The sidecar injector, which puts its root into its webhook: at its start, and from 1.1.8 on when that changes."""

    lingers = 1.0

    def __init__(self, cluster: Cluster, mesh: Mesh) -> None:
        self._cluster = cluster
        self._reloads = _version(mesh.version) >= (1, 1, 8)
        self._mount = Mount(cluster, mesh.home, "istio.istio-sidecar-injector-service-account")

    async def run(self, pod: Pod) -> None:
        if not pod.resumed:
            await self._cluster.sleep(1)
            self._patch()
            pod.ready(True)
        if not self._reloads:
            await asyncio.Event().wait()
        with self._mount.watched():
            while True:
                await self._mount.change()
                self._patch()

    def _patch(self) -> None:
        root = self._mount.texts.get("root-cert.pem", "")
        body = self._cluster.find("MutatingWebhookConfiguration", "", "istio-sidecar-injector")
        if body is not None and root:
            hooks = [with_bundle(hook, base64_text(root)) for hook in body["webhooks"]]
            self._cluster.write(body, {"webhooks": hooks}, "sidecar-injector")


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("."))

"""What an istiod writes of its root: into its webhooks and, where it holds the lock, into every namespace."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

from sandbox import shapes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sandbox.entries import Change
    from sandbox.reactions.cluster import Cluster
    from sandbox.reactions.istiod import Istiod
    from sandbox.shapes import Body

LOCK = "istio-namespace-controller-election"
_LEADER = "control-plane.alpha.kubernetes.io/leader"
_KINDS = ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration")
_UNSERVED = ("kube-public", "kube-node-lease", "local-path-storage")
_MANAGER = "pilot-discovery"


class Webhooks:
    """Puts its root into the webhooks of its revision, whoever else may have written another: two of them flap."""

    def __init__(self, istiod: Istiod, cluster: Cluster) -> None:
        self._istiod = istiod
        self._cluster = cluster
        self._kinds = [cluster.store.catalogue.named(kind) for kind in _KINDS]
        self.due = asyncio.Event()

    async def run(self) -> None:
        self._cluster.store.listeners.append(self._see)
        try:
            while True:
                await self.due.wait()
                self.due.clear()
                self._patch()
                await self._cluster.sleep(1.5)
        finally:
            self._cluster.store.listeners.remove(self._see)

    def _see(self, change: Change) -> None:
        if change.resource in self._kinds:
            self.due.set()

    def _patch(self) -> None:
        memory = self._istiod.memory
        assert memory is not None
        encoded = shapes.base64_text(memory.bundle)
        for body in self._own():
            hooks = [shapes.with_bundle(hook, encoded) for hook in body["webhooks"]]
            if hooks != body["webhooks"]:
                self._cluster.write(body, {"webhooks": hooks}, _MANAGER)

    def _own(self) -> Iterator[Body]:
        for kind in _KINDS:
            for body in self._cluster.every(kind):
                labels = body["metadata"].get("labels", {})
                homes = {hook["clientConfig"].get("service", {}).get("namespace") for hook in body["webhooks"]}
                if labels.get("istio.io/rev", "") == self._istiod.revision and self._istiod.home in homes:
                    yield body


class Publisher:
    """Writes the copies of every namespace, or the ClusterTrustBundle where there is one."""

    def __init__(self, istiod: Istiod, cluster: Cluster) -> None:
        self._istiod = istiod
        self._cluster = cluster
        self.due = asyncio.Event()

    async def run(self) -> None:
        self._cluster.store.listeners.append(self._see)
        try:
            while True:
                await self.due.wait()
                self.due.clear()
                await self._cluster.sleep(0.5)
                if self._istiod.leads:
                    self._publish()
        finally:
            self._cluster.store.listeners.remove(self._see)

    def _see(self, change: Change) -> None:
        """A copy that was changed or deleted by hand is put back, and a new namespace gets one."""
        is_copy = change.resource.kind == "ConfigMap" and change.key.endswith("/istio-ca-root-cert")
        if is_copy or (change.resource.kind == "Namespace" and change.old is None):
            self.due.set()

    def _publish(self) -> None:
        memory = self._istiod.memory
        assert memory is not None
        bundles = [one for one in self._cluster.every("ClusterTrustBundle") if "istiod-ca" in one["metadata"]["name"]]
        for bundle in bundles:
            self._cluster.change(bundle, {"spec": {"trustBundle": memory.bundle}})
        for namespace in () if bundles else self._cluster.every("Namespace"):
            name = namespace["metadata"]["name"]
            if name not in _UNSERVED and "deletionTimestamp" not in namespace["metadata"]:
                self._write(name, memory.bundle)

    def _write(self, namespace: str, bundle: str) -> None:
        body = self._cluster.find("ConfigMap", namespace, "istio-ca-root-cert")
        if body is None:
            labels = {"istio.io/config": "true"}
            metadata = shapes.meta("istio-ca-root-cert", namespace, self._cluster.now(), labels=labels)
            body = shapes.config_map(metadata, {})
        self._cluster.change(body, {"data": {"root-cert.pem": bundle}})


class Lock:
    """The ConfigMap whose annotation says who publishes: given back at the end, and taken by who sees it free."""

    def __init__(self, istiod: Istiod, cluster: Cluster, publisher: Publisher) -> None:
        self._istiod = istiod
        self._cluster = cluster
        self._publisher = publisher
        self.is_held = False

    def take_at_first(self) -> None:
        """Hold the lock from the beginning, where nobody else does: what is described stays as it is published."""
        if not self._holder():
            self._hold(self._istiod.name)
            self.is_held = True

    async def run(self) -> None:
        try:
            while True:
                if not self.is_held and not self._holder():
                    self._hold(self._istiod.name)
                    self.is_held = True
                    self._publisher.due.set()
                await self._cluster.sleep(2)
        finally:
            if self.is_held:
                self._hold("")
                self.is_held = False

    def _holder(self) -> str:
        body = self._cluster.find("ConfigMap", self._istiod.home, LOCK)
        said = "{}" if body is None else body["metadata"].get("annotations", {}).get(_LEADER, "{}")
        return str(json.loads(said).get("holderIdentity", ""))

    def _hold(self, holder: str) -> None:
        record = {"holderIdentity": holder, "holderKey": self._istiod.revision or "default", "leaseDurationSeconds": 30}
        record |= {"renewTime": shapes.stamp(self._cluster.now())}
        body = self._cluster.find("ConfigMap", self._istiod.home, LOCK)
        if body is None:
            body = shapes.config_map(shapes.meta(LOCK, self._istiod.home, self._cluster.now()), {})
        self._cluster.change(body, {"metadata": {"annotations": {_LEADER: json.dumps(record)}}})

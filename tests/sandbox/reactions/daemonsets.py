"""What kube-controller-manager does of a DaemonSet: one pod after the other is ended and made anew."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sandbox.reactions.replicas import is_ending, is_ready, owner_of, place_of, replica
from sandbox.workloads import letters

if TYPE_CHECKING:
    from sandbox.entries import Change
    from sandbox.reactions.cluster import Cluster, Place
    from sandbox.reactions.programs import Kubelet
    from sandbox.shapes import Body

_REACTION = 0.1  # seconds
_HASH = "controller-revision-hash"


class DaemonSets:
    def __init__(self, cluster: Cluster, kubelet: Kubelet) -> None:
        self._cluster = cluster
        self._kubelet = kubelet
        self._rolling: set[Place] = set()
        self._made = 0

    def see(self, change: Change) -> None:
        if change.resource.kind != "DaemonSet" or change.old is None or change.new is None:
            return
        place = place_of(change.new.body)
        if change.old.body["spec"] != change.new.body["spec"] and place not in self._rolling:
            self._rolling.add(place)
            self._cluster.spawn(self._roll(place))

    async def _roll(self, place: Place) -> None:
        """Replace every pod of another template; one that was changed meanwhile is rolled from there on."""
        while (old := self._outdated(place)) is not None:
            self._kubelet.stop(place_of(old))
            self._tell(place)
            while self._cluster.find("Pod", *place_of(old)) is not None:
                await self._cluster.sleep(_REACTION)
            daemon_set = self._daemon_set(place)
            self._made += 1
            hashed = {_HASH: self._hash(daemon_set)}
            template = daemon_set["spec"]["template"]
            pod = replica(daemon_set, template, hashed, old, self._made, self._cluster.now())
            self._kubelet.start(pod, like=place_of(old))
            while not is_ready(self._cluster.find("Pod", *place_of(pod)) or pod):
                await self._cluster.sleep(_REACTION)
            self._tell(place)
        self._rolling.discard(place)
        self._tell(place)

    def _outdated(self, place: Place) -> Body | None:
        wanted = self._hash(self._daemon_set(place))
        return next((pod for pod in self._pods(place) if pod["metadata"]["labels"][_HASH] != wanted), None)

    def _pods(self, place: Place) -> list[Body]:
        return [pod for pod in self._cluster.every("Pod", place[0]) if owner_of(pod) == place[1]]

    def _daemon_set(self, place: Place) -> Body:
        body = self._cluster.find("DaemonSet", *place)
        assert body is not None
        return body

    def _hash(self, daemon_set: Body) -> str:
        namespace, name = place_of(daemon_set)
        return letters(f"{namespace}/{name}/{daemon_set['spec']['template']!r}", 10)

    def _tell(self, place: Place) -> None:
        daemon_set = self._daemon_set(place)
        living = [pod for pod in self._pods(place) if not is_ending(pod)]
        ready = sum(is_ready(pod) for pod in living)
        wanted = self._hash(daemon_set)
        status = {
            "currentNumberScheduled": len(living),
            "updatedNumberScheduled": sum(pod["metadata"]["labels"][_HASH] == wanted for pod in living),
            "numberReady": ready,
            "numberAvailable": ready,
            "observedGeneration": daemon_set["metadata"]["generation"],
        }
        self._cluster.change(daemon_set, {"status": status})

"""What kube-controller-manager does of a Deployment: its ReplicaSets, its pods, its status."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sandbox.editing import merged
from sandbox.reactions.replicas import is_ending, is_ready, owner_of, place_of, replica, share
from sandbox.shapes import Body, meta, owner_reference, stamp
from sandbox.workloads import available, letters

if TYPE_CHECKING:
    from sandbox.entries import Change
    from sandbox.reactions.cluster import Cluster, Place
    from sandbox.reactions.programs import Kubelet

_REACTION = 0.1  # seconds
_HASH = "pod-template-hash"


class Deployments:
    def __init__(self, cluster: Cluster, kubelet: Kubelet) -> None:
        self._cluster = cluster
        self._kubelet = kubelet
        self._due: set[Place] = set()
        self._made = 0

    def see(self, change: Change) -> None:
        kind, old, new = change.resource.kind, change.old, change.new
        if kind == "Deployment" and new is not None:
            before = 0 if old is None else old.body["metadata"].get("generation")
            if before != new.body["metadata"].get("generation"):
                self._soon(place_of(new.body))
        elif kind == "Pod" and (entry := new or old) is not None:
            namespace = entry.body["metadata"]["namespace"]
            owner = self._cluster.find("ReplicaSet", namespace, owner_of(entry.body))
            if owner is not None:
                self._soon((namespace, owner_of(owner)))

    def _soon(self, place: Place) -> None:
        if place not in self._due:
            self._due.add(place)
            self._cluster.spawn(self._reconcile(place))

    async def _reconcile(self, place: Place) -> None:
        await self._cluster.sleep(_REACTION)
        self._due.discard(place)
        deployment = self._cluster.find("Deployment", *place)
        if deployment is None:
            return
        current = self._replica_set(deployment)
        if not deployment["spec"].get("paused"):
            self._roll(deployment, current)
        self._tell_sets(place)
        self._tell(place, current["metadata"]["name"])

    def _sets(self, place: Place) -> list[Body]:
        return [one for one in self._cluster.every("ReplicaSet", place[0]) if owner_of(one) == place[1]]

    def _replica_set(self, deployment: Body) -> Body:
        """Give the ReplicaSet of the template as it is now, made where there is none yet."""
        namespace, name = place_of(deployment)
        template = deployment["spec"]["template"]
        sets = self._sets((namespace, name))
        for one in sets:
            if merged(one["spec"]["template"], {"metadata": {"labels": {_HASH: None}}}) == template:
                return one
        hashed = {_HASH: letters(f"{namespace}/{name}/{template!r}", 10)}
        labels = {**deployment["metadata"].get("labels", {}), **hashed}
        metadata = meta(f"{name}-{hashed[_HASH]}", namespace, self._cluster.now(), labels=labels)
        metadata |= {"generation": 1, "ownerReferences": [owner_reference("Deployment", namespace, name)]}
        made: Body = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": metadata}
        made["spec"] = {
            "replicas": deployment["spec"].get("replicas", 1),
            "selector": {"matchLabels": {**deployment["spec"]["selector"]["matchLabels"], **hashed}},
            "template": merged(template, {"metadata": {"labels": hashed}}),
        }
        made["status"] = {"observedGeneration": 1, "replicas": 0, "readyReplicas": 0, "availableReplicas": 0}
        self._cluster.store.put(made)
        revision = {"deployment.kubernetes.io/revision": str(len(sets) + 1)}
        self._cluster.change(deployment, {"metadata": {"annotations": revision}})
        return made

    def _living(self, place: Place) -> list[Body]:
        sets = {one["metadata"]["name"] for one in self._sets(place)}
        return [pod for pod in self._cluster.every("Pod", place[0]) if owner_of(pod) in sets and not is_ending(pod)]

    def _roll(self, deployment: Body, current: Body) -> None:
        """Start what the surge allows; of the others those go that are not ready, or no longer needed."""
        place, name = place_of(deployment), current["metadata"]["name"]
        living = self._living(place)
        fresh = [pod for pod in living if owner_of(pod) == name]
        old = [pod for pod in living if owner_of(pod) != name]
        wanted = deployment["spec"].get("replicas", 1)
        limits = deployment["spec"].get("strategy", {}).get("rollingUpdate", {})
        surge = share(limits.get("maxSurge", "25%"), wanted, up=True)
        for number in range(min(wanted - len(fresh), wanted + surge - len(living))):
            like = living[(len(fresh) + number) % len(living)] if living else None
            self._start(deployment, current, like)
        must = wanted - share(limits.get("maxUnavailable", "25%"), wanted, up=False)
        ready = sum(is_ready(pod) for pod in living)
        for pod in sorted(old, key=is_ready):
            if not is_ready(pod) or ready > must:
                ready -= is_ready(pod)
                self._kubelet.stop(place_of(pod))
        for pod in fresh[wanted:]:
            self._kubelet.stop(place_of(pod))

    def _start(self, deployment: Body, current: Body, like: Body | None) -> None:
        self._made += 1
        hashed = {_HASH: current["metadata"]["labels"][_HASH]}
        template = deployment["spec"]["template"]
        pod = replica(current, template, hashed, like, self._made, self._cluster.now())
        self._kubelet.start(pod, like=None if like is None else place_of(like))

    def _tell_sets(self, place: Place) -> None:
        living = self._living(place)
        for one in self._sets(place):
            mine = [pod for pod in living if owner_of(pod) == one["metadata"]["name"]]
            ready = sum(is_ready(pod) for pod in mine)
            status = {"replicas": len(mine), "readyReplicas": ready, "availableReplicas": ready}
            self._cluster.change(one, {"spec": {"replicas": len(mine)}, "status": status})

    def _tell(self, place: Place, current: str) -> None:
        """Write the status as Kubernetes counts it: pods that are ending are counted nowhere."""
        deployment = self._cluster.find("Deployment", *place)
        assert deployment is not None
        living, wanted = self._living(place), deployment["spec"].get("replicas", 1)
        ready = sum(is_ready(pod) for pod in living)
        updated = sum(owner_of(pod) == current for pod in living)
        limits = deployment["spec"].get("strategy", {}).get("rollingUpdate", {})
        enough = ready >= wanted - share(limits.get("maxUnavailable", "25%"), wanted, up=False)
        done = updated == len(living) == ready == wanted
        counts = {"replicas": len(living), "updatedReplicas": updated, "readyReplicas": ready}
        counts |= {"availableReplicas": ready, "unavailableReplicas": max(wanted, len(living)) - ready}
        conditions = [available(self._cluster.now(), enough), _progressing(stamp(self._cluster.now()), current, done)]
        told = deployment["status"].get("conditions", [])
        conditions = [next((old for old in told if _same(old, new)), new) for new in conditions]
        patch: Body = {key: value or None for key, value in counts.items()}  # a count of none is left out
        patch |= {"observedGeneration": deployment["metadata"]["generation"], "conditions": conditions}
        self._cluster.change(deployment, {"status": patch})


def _same(one: Body, other: Body) -> bool:
    return all(one[key] == other[key] for key in ("type", "status", "reason"))


def _progressing(at: str, current: str, done: bool) -> Body:
    words = "has successfully progressed" if done else "is progressing"
    return {
        "type": "Progressing",
        "status": "True",
        "reason": "NewReplicaSetAvailable" if done else "ReplicaSetUpdated",
        "message": f'ReplicaSet "{current}" {words}.',
        "lastTransitionTime": at,
        "lastUpdateTime": at,
    }

"""Deployments and DaemonSets with their pods, as the API server gives them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sandbox.shapes import meta, owner_reference, stamp

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from sandbox.shapes import Body

_SUFFIX = "bcdfghjklmnpqrstvwxz2456789"  # the letters that Kubernetes takes for generated names


@dataclass(frozen=True, slots=True, kw_only=True)
class PodShape:
    """One pod of a workload, or the template of all."""

    containers: tuple[Body, ...]
    init_containers: tuple[Body, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    account: str = "default"
    volumes: tuple[Body, ...] = ()
    phase: str = "Running"
    ready: bool = True
    node: str = "node1"
    ending: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """A Deployment or DaemonSet and its pods, each with the time of its start.

    `template` is what is written in it, before any injection; `labels` are its own, and `selector` tells its pods.
    """

    kind: str
    name: str
    namespace: str
    labels: Mapping[str, str]
    selector: Mapping[str, str]
    template: PodShape
    pods: tuple[tuple[PodShape, datetime], ...]
    created: datetime

    def pod_name(self, ordinal: int) -> str:
        return f"{self._owner_name}-{letters(f'{self.namespace}/{self.name}/{ordinal}', 5)}"

    def objects(self) -> list[Body]:
        owned = [self._replica_set()] if self.kind == "Deployment" else []
        return [self._controller(), *owned, *self._pods()]

    @property
    def _hash(self) -> str:
        return letters(f"{self.namespace}/{self.name}", 10)

    @property
    def _owner_name(self) -> str:
        return f"{self.name}-{self._hash}" if self.kind == "Deployment" else self.name

    @property
    def _owner_kind(self) -> str:
        return "ReplicaSet" if self.kind == "Deployment" else self.kind

    @property
    def _hashed(self) -> Mapping[str, str]:
        return {"pod-template-hash" if self.kind == "Deployment" else "controller-revision-hash": self._hash}

    @property
    def _ready(self) -> int:
        return sum(pod.ready and pod.phase == "Running" for pod, _ in self.pods)

    def _controller(self) -> Body:
        count, ready = len(self.pods), self._ready
        revision = {f"{self.kind.lower()}.kubernetes.io/revision": "1"}
        metadata = meta(self.name, self.namespace, self.created, labels=self.labels, annotations=revision)
        spec = self._spec({})
        if self.kind == "DaemonSet":
            spec["updateStrategy"] = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}
            counts = ("currentNumberScheduled", "desiredNumberScheduled", "updatedNumberScheduled")
            status: Body = {**dict.fromkeys(counts, count), "numberReady": ready, "numberAvailable": ready}
            status["numberMisscheduled"] = 0
        else:
            spec["replicas"] = count
            spec["strategy"] = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "100%", "maxUnavailable": "25%"}}
            status = {"replicas": count, "updatedReplicas": count, "readyReplicas": ready, "availableReplicas": ready}
            status["conditions"] = [available(self.created, ready == count)]
        return {
            "apiVersion": "apps/v1",
            "kind": self.kind,
            "metadata": metadata | {"generation": 1},
            "spec": spec,
            "status": status | {"observedGeneration": 1},
        }

    def _replica_set(self) -> Body:
        count, ready = len(self.pods), self._ready
        metadata = meta(self._owner_name, self.namespace, self.created, labels={**self.labels, **self._hashed})
        owned_by = owner_reference("Deployment", self.namespace, self.name)
        return {
            "apiVersion": "apps/v1",
            "kind": "ReplicaSet",
            "metadata": metadata | {"generation": 1, "ownerReferences": [owned_by]},
            "spec": self._spec(self._hashed) | {"replicas": count},
            "status": {
                "observedGeneration": 1,
                "replicas": count,
                "readyReplicas": ready,
                "availableReplicas": ready,
            },
        }

    def _spec(self, hashed: Mapping[str, str]) -> Body:
        template = {"metadata": _labelled(self.template, hashed), "spec": _pod_spec(self.template)}
        return {"selector": {"matchLabels": {**self.selector, **hashed}}, "template": template}

    def _pods(self) -> Iterable[Body]:
        for ordinal, (pod, started) in enumerate(self.pods):
            name = self.pod_name(ordinal)
            metadata = meta(name, self.namespace, started) | _labelled(pod, self._hashed)
            metadata["generateName"] = f"{self._owner_name}-"
            metadata["ownerReferences"] = [owner_reference(self._owner_kind, self.namespace, self._owner_name)]
            if pod.ending:
                metadata |= {"deletionTimestamp": stamp(started), "deletionGracePeriodSeconds": 30}
            yield {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": metadata,
                "spec": _pod_spec(pod) | {"nodeName": pod.node},
                "status": pod_status(name, _pod_spec(pod), stamp(started), phase=pod.phase, ready=pod.ready),
            }


def letters(seed: str, count: int) -> str:
    return "".join(_SUFFIX[byte % len(_SUFFIX)] for byte in hashlib.sha256(seed.encode()).digest()[:count])


def _labelled(pod: PodShape, hashed: Mapping[str, str]) -> Body:
    metadata: Body = {"labels": {**pod.labels, **hashed}}
    if pod.annotations:
        metadata["annotations"] = dict(pod.annotations)
    return metadata


def _pod_spec(pod: PodShape) -> Body:
    spec: Body = {"containers": list(pod.containers)}
    if pod.init_containers:
        spec["initContainers"] = list(pod.init_containers)
    spec |= {"serviceAccountName": pod.account, "serviceAccount": pod.account, "restartPolicy": "Always"}
    spec |= {"dnsPolicy": "ClusterFirst", "schedulerName": "default-scheduler", "securityContext": {}}
    if pod.volumes:
        spec["volumes"] = list(pod.volumes)
    return spec


def pod_status(name: str, spec: Body, at: str, *, phase: str = "Running", ready: bool = True) -> Body:
    """Give the status of a pod that started at a time; `spec` is its own."""
    ready = ready and phase == "Running"
    address = f"10.244.0.{hashlib.sha256(name.encode()).digest()[0]}"
    conditions = [
        {"type": kind, "status": str(good), "lastProbeTime": None, "lastTransitionTime": at}
        for kind, good in (
            ("PodScheduled", True),
            ("Initialized", True),
            ("ContainersReady", ready),
            ("Ready", ready),
        )
    ]
    status: Body = {
        "phase": phase,
        "conditions": conditions,
        "containerStatuses": [_container_status(one, phase, at, ready=ready) for one in spec["containers"]],
        "hostIP": "10.99.0.1",
        "podIP": address,
        "podIPs": [{"ip": address}],
        "qosClass": "Burstable",
        "startTime": at,
    }
    if spec.get("initContainers"):
        status["initContainerStatuses"] = [
            _container_status(one, phase, at, ready=ready)
            if one.get("restartPolicy") == "Always"
            else _container_status(one, "Succeeded", at, ready=True)
            for one in spec["initContainers"]
        ]
    return status


def _container_status(one: Body, phase: str, at: str, *, ready: bool) -> Body:
    digest = hashlib.sha256(one["image"].encode()).hexdigest()
    state: Body = {"running": {"startedAt": at}}
    if phase == "Pending":
        state = {"waiting": {"reason": "ContainerCreating"}}
    elif phase in ("Succeeded", "Failed"):
        code, reason = (0, "Completed") if phase == "Succeeded" else (1, "Error")
        state = {"terminated": {"exitCode": code, "reason": reason, "startedAt": at, "finishedAt": at}}
    return {
        "name": one["name"],
        "image": one["image"],
        "imageID": f"{one['image'].split('@')[0].rsplit(':', 1)[0]}@sha256:{digest}",
        "containerID": f"containerd://{digest}",
        "ready": ready,
        "restartCount": 0,
        "started": phase == "Running",
        "state": state,
        "lastState": {},
    }


def available(since: datetime, good: bool) -> Body:
    words = "has minimum availability" if good else "does not have minimum availability"
    return {
        "type": "Available",
        "status": str(good),
        "reason": "MinimumReplicasAvailable" if good else "MinimumReplicasUnavailable",
        "message": f"Deployment {words}.",
        "lastTransitionTime": stamp(since),
        "lastUpdateTime": stamp(since),
    }

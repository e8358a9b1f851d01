"""The objects of a mesh as Kubernetes gives them: the shapes that the recorded real meshes have, cut to what is asked of.

Nothing here knows of certificates or of a `Mesh`: text goes in, dicts come out. `stamped` gives them the metadata that
an API server adds.
"""

from __future__ import annotations

import base64
import hashlib
import json
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

Body = dict[str, Any]

_SUFFIX = "bcdfghjklmnpqrstvwxz2456789"  # the letters that Kubernetes takes for generated names


@dataclass(frozen=True, slots=True, kw_only=True)
class PodShape:
    """One pod of a workload."""

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
    """A Deployment or DaemonSet and its pods; `template` is what is written there, before the injection of a sidecar."""

    kind: str
    name: str
    namespace: str
    labels: Mapping[str, str]
    template: PodShape
    pods: tuple[PodShape, ...]
    created: datetime
    started: datetime
    selector: Mapping[str, str]

    def pod_name(self, ordinal: int) -> str:
        seed = f"{self.namespace}/{self.name}"
        stem = f"{self.name}-{_letters(seed, 10)}" if self.kind == "Deployment" else self.name
        return f"{stem}-{_letters(f'{seed}/{ordinal}', 5)}"

    def objects(self) -> list[Body]:
        if self.kind == "DaemonSet":
            return [self._controller(self.kind, self.name, ""), *self._pods("DaemonSet", self.name)]
        set_name = f"{self.name}-{_letters(f'{self.namespace}/{self.name}', 10)}"
        return [
            self._controller(self.kind, self.name, ""),
            self._controller("ReplicaSet", set_name, self.name),
            *self._pods("ReplicaSet", set_name),
        ]

    def _controller(self, kind: str, name: str, owner: str) -> Body:
        extra = {"pod-template-hash": _letters(f"{self.namespace}/{self.name}", 10)} if owner else {}
        metadata = meta(name, self.namespace, self.created, labels={**self.labels, **extra})
        metadata["generation"] = 1
        if owner:
            metadata["ownerReferences"] = [_owner("Deployment", self.namespace, owner)]
        metadata["annotations"] = {"deployment.kubernetes.io/revision": "1"}
        count, ready = len(self.pods), sum(pod.ready for pod in self.pods)
        spec: Body = {
            "selector": {"matchLabels": {**self.selector, **extra}},
            "template": {
                "metadata": _pod_metadata(self.template, extra),
                "spec": _pod_spec(self.template, bound=False),
            },
        }
        if kind == "DaemonSet":
            counts = ("currentNumberScheduled", "desiredNumberScheduled", "updatedNumberScheduled")
            status: Body = {**dict.fromkeys(counts, count), "numberReady": ready, "numberAvailable": ready}
            status |= {"numberMisscheduled": 0, "observedGeneration": 1}
        else:
            spec["replicas"] = count
            status = {"observedGeneration": 1, "replicas": count, "readyReplicas": ready, "availableReplicas": ready}
        if kind == "Deployment":
            spec["strategy"] = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "100%", "maxUnavailable": "25%"}}
            status |= {"updatedReplicas": count, "conditions": _available(ready == count, self.started)}
        return {"apiVersion": "apps/v1", "kind": kind, "metadata": metadata, "spec": spec, "status": status}

    def _pods(self, owner_kind: str, owner: str) -> Iterable[Body]:
        for ordinal, pod in enumerate(self.pods):
            name = self.pod_name(ordinal)
            extra = {"pod-template-hash": _letters(f"{self.namespace}/{self.name}", 10)}
            metadata = meta(name, self.namespace, self.started) | _pod_metadata(pod, extra)
            metadata["generateName"] = name[:-5]
            metadata["ownerReferences"] = [_owner(owner_kind, self.namespace, owner)]
            if pod.ending:
                metadata |= {"deletionTimestamp": stamp(self.started), "deletionGracePeriodSeconds": 30}
            yield {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": metadata,
                "spec": _pod_spec(pod, bound=True),
                "status": _pod_status(pod, name, self.started),
            }


def meta(
    name: str,
    namespace: str,
    created: datetime,
    *,
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
) -> Body:
    """Metadata as the API server keeps it: no empty map, no namespace on what has none."""
    metadata: Body = {"name": name, "creationTimestamp": stamp(created)}
    if namespace:
        metadata["namespace"] = namespace
    if labels:
        metadata["labels"] = dict(labels)
    if annotations:
        metadata["annotations"] = dict(annotations)
    return metadata


def secret(metadata: Body, kind: str, texts: Mapping[str, str]) -> Body:
    encoded = {key: base64.b64encode(text.encode()).decode() for key, text in texts.items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": kind, "data": encoded}


def config_map(metadata: Body, texts: Mapping[str, str]) -> Body:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": dict(texts)}


def service_account(name: str, namespace: str, created: datetime) -> Body:
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta(name, namespace, created)}


def namespace_object(name: str, labels: Mapping[str, str], created: datetime, *, terminating: bool) -> Body:
    metadata = meta(name, "", created, labels={"kubernetes.io/metadata.name": name, **labels})
    if terminating:
        metadata["deletionTimestamp"] = stamp(created)
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": metadata,
        "spec": {"finalizers": ["kubernetes"]},
        "status": {"phase": "Terminating" if terminating else "Active"},
    }


def trust_bundle(name: str, signer: str, bundle: str, version: str, created: datetime) -> Body:
    return {
        "apiVersion": f"certificates.k8s.io/{version}",
        "kind": "ClusterTrustBundle",
        "metadata": meta(name, "", created),
        "spec": {"signerName": signer, "trustBundle": bundle},
    }


def webhook(kind: str, metadata: Body, service: str, namespace: str, bundle: str, names: Sequence[str]) -> Body:
    path = "/inject" if kind == "MutatingWebhookConfiguration" else "/validate"
    ca_bundle = base64.b64encode(bundle.encode()).decode()
    hooks = [
        {
            "name": name,
            "admissionReviewVersions": ["v1"],
            "clientConfig": {
                "service": {"name": service, "namespace": namespace, "path": path, "port": 443},
                "caBundle": ca_bundle,
            },
            "failurePolicy": "Fail",
            "sideEffects": "None",
        }
        for name in names
    ]
    return {"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind, "metadata": metadata, "webhooks": hooks}


def container(name: str, image: str, *, args: Sequence[str] = (), env: Mapping[str, Any] | None = None) -> Body:
    """A container; an `env` value that is a mapping is written as `valueFrom`."""
    body: Body = {"name": name, "image": image, "imagePullPolicy": "IfNotPresent", "resources": {}}
    if args:
        body["args"] = list(args)
    if env:
        body["env"] = [
            {"name": key, "value": value} if isinstance(value, str) else {"name": key, "valueFrom": dict(value)}
            for key, value in env.items()
        ]
    return body


def field_ref(path: str) -> Body:
    return {"fieldRef": {"apiVersion": "v1", "fieldPath": path}}


def stamped(bodies: Iterable[Body]) -> list[Body]:
    """Add what an API server adds: a uid that follows from kind, namespace and name, and a growing resourceVersion."""
    known = list(bodies)
    for number, body in enumerate(known, start=1001):
        metadata = body["metadata"]
        metadata.setdefault("uid", uid(body["kind"], metadata.get("namespace", ""), metadata["name"]))
        metadata.setdefault("resourceVersion", str(number))
    return known


def uid(kind: str, namespace: str, name: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{kind}/{namespace}/{name}"))


def stamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def with_last_applied(body: Body) -> Body:
    """Add the annotation that `kubectl apply` leaves: the whole object, a Secret's data too."""
    applied = json.loads(json.dumps(body))
    for added in ("creationTimestamp", "uid", "resourceVersion"):
        applied["metadata"].pop(added, None)
    text = json.dumps(applied, separators=(",", ":")) + "\n"
    annotations = body["metadata"].setdefault("annotations", {})
    annotations["kubectl.kubernetes.io/last-applied-configuration"] = text
    return body


def _letters(seed: str, count: int) -> str:
    return "".join(_SUFFIX[byte % len(_SUFFIX)] for byte in hashlib.sha256(seed.encode()).digest()[:count])


def _owner(kind: str, namespace: str, name: str) -> Body:
    reference = {"apiVersion": "apps/v1", "kind": kind, "name": name, "uid": uid(kind, namespace, name)}
    return reference | {"controller": True, "blockOwnerDeletion": True}


def _pod_metadata(pod: PodShape, extra: Mapping[str, str]) -> Body:
    metadata: Body = {"labels": {**pod.labels, **extra}}
    if pod.annotations:
        metadata["annotations"] = dict(pod.annotations)
    return metadata


def _pod_spec(pod: PodShape, *, bound: bool) -> Body:
    spec: Body = {"containers": list(pod.containers)}
    if pod.init_containers:
        spec["initContainers"] = list(pod.init_containers)
    spec |= {"serviceAccountName": pod.account, "serviceAccount": pod.account, "restartPolicy": "Always"}
    spec |= {"dnsPolicy": "ClusterFirst", "schedulerName": "default-scheduler", "securityContext": {}}
    if pod.volumes:
        spec["volumes"] = list(pod.volumes)
    return spec | ({"nodeName": pod.node} if bound else {})


def _pod_status(pod: PodShape, name: str, started: datetime) -> Body:
    at, ready = stamp(started), pod.ready and pod.phase == "Running"
    address = f"10.244.0.{hashlib.sha256(name.encode()).digest()[0]}"
    conditions = [
        {"type": kind, "status": "True" if good else "False", "lastProbeTime": None, "lastTransitionTime": at}
        for kind, good in (
            ("PodScheduled", True),
            ("Initialized", True),
            ("ContainersReady", ready),
            ("Ready", ready),
        )
    ]
    status: Body = {
        "phase": pod.phase,
        "conditions": conditions,
        "containerStatuses": [_container_status(one, pod.phase, at, ready=ready) for one in pod.containers],
        "hostIP": "10.99.0.1",
        "podIP": address,
        "podIPs": [{"ip": address}],
        "qosClass": "Burstable",
        "startTime": at,
    }
    if pod.init_containers:
        status["initContainerStatuses"] = [
            _container_status(one, pod.phase, at, ready=ready)
            if one.get("restartPolicy") == "Always"
            else _container_status(one, "Succeeded", at, ready=True)
            for one in pod.init_containers
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


def _available(good: bool, since: datetime) -> list[Body]:  # noqa: FBT001 - private, read in one place
    at = stamp(since)
    reason = "MinimumReplicasAvailable" if good else "MinimumReplicasUnavailable"
    words = "has minimum availability" if good else "does not have minimum availability"
    return [
        {
            "type": "Available",
            "status": str(good),
            "reason": reason,
            "message": f"Deployment {words}.",
            "lastTransitionTime": at,
            "lastUpdateTime": at,
        }
    ]

"""The objects of a mesh as Kubernetes gives them: the shapes of recorded real meshes, cut to what matters.

Nothing here knows of certificates or of a `Mesh`: text goes in, dicts come out. `stamped` gives them the metadata that
an API server adds.
"""

from __future__ import annotations

import base64
import json
import uuid
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

Body = dict[str, Any]


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


def base64_text(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def secret(metadata: Body, kind: str, texts: Mapping[str, str]) -> Body:
    encoded = {key: base64_text(text) for key, text in texts.items()}
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
    ca_bundle = base64_text(bundle)
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


def with_bundle(hook: Body, ca_bundle: str) -> Body:
    return {**hook, "clientConfig": {**hook["clientConfig"], "caBundle": ca_bundle}}


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


def owner_reference(kind: str, namespace: str, name: str) -> Body:
    reference = {"apiVersion": "apps/v1", "kind": kind, "name": name, "uid": uid(kind, namespace, name)}
    return reference | {"controller": True, "blockOwnerDeletion": True}


def stamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def with_manager(body: Body, manager: str, at: datetime, paths: Mapping[str, Any] | None = None) -> Body:
    """Say who wrote an object last, or which part of it: what a manager takes over, others lose."""
    fields = owned(body if paths is None else paths)
    metadata = dict(body["metadata"])
    kept = [
        {**entry, "fieldsV1": rest}
        for entry in metadata.get("managedFields", ())
        if entry["manager"] != manager and (rest := _less(entry["fieldsV1"], fields))
    ]
    before = [entry["fieldsV1"] for entry in metadata.get("managedFields", ()) if entry["manager"] == manager]
    entry = {"manager": manager, "operation": "Update", "apiVersion": body["apiVersion"], "time": stamp(at)}
    for own in before:
        fields = _joined(own, fields)
    metadata["managedFields"] = [*kept, {**entry, "fieldsType": "FieldsV1", "fieldsV1": fields}]
    return {**body, "metadata": metadata}


def owned(body: Mapping[str, Any]) -> Body:
    """Give the fields of a body as managedFields name them; those that the API server writes belong to nobody."""
    unowned = ("kind", "apiVersion", "name", "namespace", "resourceVersion", "uid", "creationTimestamp")
    return {
        f"f:{key}": owned(value) if isinstance(value, dict) and value else {}
        for key, value in body.items()
        if key not in unowned and (key != "metadata" or owned(value))
    }


def _less(fields: Body, taken: Mapping[str, Any]) -> Body:
    rest: Body = {}
    for key, below in fields.items():
        if key not in taken:
            rest[key] = below
        elif below and taken[key] and (left := _less(below, taken[key])):
            rest[key] = left
    return rest


def _joined(one: Body, other: Body) -> Body:
    return one | {key: _joined(one[key], below) if key in one else below for key, below in other.items()}


def with_last_applied(body: Body) -> Body:
    """Add the annotation that `kubectl apply` leaves: the whole object, a Secret's data too."""
    applied = json.loads(json.dumps(body))
    for added in ("creationTimestamp", "uid", "resourceVersion", "managedFields"):
        applied["metadata"].pop(added, None)
    text = json.dumps(applied, separators=(",", ":")) + "\n"
    annotations = body["metadata"].setdefault("annotations", {})
    annotations["kubectl.kubernetes.io/last-applied-configuration"] = text
    return body

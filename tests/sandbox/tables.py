"""Lists as tables, which is how kubectl asks for what it prints."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sandbox.entries import Entry
    from sandbox.resources import Resource

    Body = dict[str, Any]
    Cell = Callable[[Body], Any]


def wanted(accept: str) -> bool:
    """Say whether a table comes first of what is accepted."""
    first = accept.partition(",")[0].replace(" ", "")
    return "as=Table" in first and first.startswith("application/json")


def table(
    resource: Resource, entries: tuple[Entry, ...], metadata: Body, now: datetime, query: Mapping[str, str]
) -> bytes:
    columns = _COLUMNS.get(resource.kind, ())
    names = [("Name", "string"), *((title, kind) for title, kind, _ in columns), ("Age", "string")]
    included = query.get("includeObject", "Metadata")
    rows = [
        {
            "cells": [
                entry.body["metadata"]["name"],
                *(cell(entry.body) for _, _, cell in columns),
                _age(entry.body["metadata"]["creationTimestamp"], now),
            ],
            "object": _object(entry.body, included),
        }
        for entry in entries
    ]
    body = {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": metadata,
        "columnDefinitions": [
            {"name": name, "type": kind, "format": "name" if name == "Name" else "", "description": "", "priority": 0}
            for name, kind in names
        ],
        "rows": rows,
    }
    return json.dumps(body, separators=(",", ":")).encode()


def _object(body: Body, included: str) -> Body | None:
    if included == "None":
        return None
    if included == "Object":
        return body
    return {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": body["metadata"]}


def _age(created: str, now: datetime) -> str:
    seconds = int((now - datetime.fromisoformat(created)).total_seconds())
    if seconds < 0:
        return "<invalid>"
    for size, letter in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= 2 * size:
            return f"{seconds // size}{letter}"
    return f"{seconds}s"


def _data(body: Body) -> int:
    return len(body.get("data") or {})


def _containers(body: Body) -> list[Body]:
    """Give the containers that READY counts: those of the pod, and init containers that go on running."""
    spec, status = body["spec"], body["status"]
    native = {one["name"] for one in spec.get("initContainers", ()) if one.get("restartPolicy") == "Always"}
    kept = [one for one in status.get("initContainerStatuses", ()) if one["name"] in native]
    return [*kept, *status.get("containerStatuses", ())]


def _pod_ready(body: Body) -> str:
    containers = _containers(body)
    return f"{sum(one['ready'] for one in containers)}/{len(containers)}"


def _pod_status(body: Body) -> str:
    if "deletionTimestamp" in body["metadata"]:
        return "Terminating"
    waiting = (one["state"]["waiting"]["reason"] for one in _containers(body) if "waiting" in one["state"])
    complaint = next((reason for reason in waiting if reason == "CrashLoopBackOff"), "")
    return complaint or str(body["status"]["phase"])


def _restarts(body: Body) -> str:
    return str(sum(one["restartCount"] for one in _containers(body)))


def _status(field: str) -> Cell:
    return lambda body: body["status"].get(field, 0)


def _deployment_ready(body: Body) -> str:
    return f"{body['status'].get('readyReplicas', 0)}/{body['spec'].get('replicas', 0)}"


_COLUMNS: Mapping[str, tuple[tuple[str, str, Cell], ...]] = {
    "Secret": (("Type", "string", lambda body: body["type"]), ("Data", "integer", _data)),
    "ConfigMap": (("Data", "integer", _data),),
    "Namespace": (("Status", "string", lambda body: body["status"]["phase"]),),
    "Pod": (
        ("Ready", "string", _pod_ready),
        ("Status", "string", _pod_status),
        ("Restarts", "string", _restarts),
    ),
    "Deployment": (
        ("Ready", "string", _deployment_ready),
        ("Up-to-date", "integer", _status("updatedReplicas")),
        ("Available", "integer", _status("availableReplicas")),
    ),
    "ReplicaSet": (
        ("Desired", "integer", lambda body: body["spec"].get("replicas", 0)),
        ("Current", "integer", _status("replicas")),
        ("Ready", "integer", _status("readyReplicas")),
    ),
    "DaemonSet": (
        ("Desired", "integer", _status("desiredNumberScheduled")),
        ("Current", "integer", _status("currentNumberScheduled")),
        ("Ready", "integer", _status("numberReady")),
        ("Up-to-date", "integer", _status("updatedNumberScheduled")),
        ("Available", "integer", _status("numberAvailable")),
    ),
    "ClusterTrustBundle": (("SignerName", "string", lambda body: body["spec"]["signerName"]),),
    "MutatingWebhookConfiguration": (("Webhooks", "integer", lambda body: len(body["webhooks"])),),
    "ValidatingWebhookConfiguration": (("Webhooks", "integer", lambda body: len(body["webhooks"])),),
}

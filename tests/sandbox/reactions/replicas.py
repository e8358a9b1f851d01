"""New pods of a workload whose template has changed: like one that is there, as the webhook injected it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from sandbox.shapes import Body, meta, owner_reference
from sandbox.workloads import letters

if TYPE_CHECKING:
    from datetime import datetime


def replica(owner: Body, template: Body, hashed: Body, like: Body | None, number: int, now: datetime) -> Body:
    """Make a pod of an owner's template, without a status; what `like` has beyond the template was injected."""
    namespace, of = owner["metadata"]["namespace"], owner["metadata"]["name"]
    written = template["metadata"]
    before = {} if like is None else like["metadata"]
    metadata = meta(
        f"{of}-{letters(f'{namespace}/{of}/{hashed}/{number}', 5)}",
        namespace,
        now,
        labels={**before.get("labels", {}), **written.get("labels", {}), **hashed},
        annotations={**before.get("annotations", {}), **written.get("annotations", {})},
    )
    metadata["generateName"] = f"{of}-"
    metadata["ownerReferences"] = [owner_reference(owner["kind"], namespace, of)]
    spec: Body = {"nodeName": "node1"} if like is None else dict(like["spec"])
    for key, value in template["spec"].items():
        spec[key] = _over(spec.get(key, []), value) if key in ("containers", "initContainers", "volumes") else value
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def _over(injected: list[Body], written: list[Body]) -> list[Body]:
    named = {one["name"] for one in written}
    return [*written, *(one for one in injected if one["name"] not in named)]


def share(limit: int | str, of: int, *, up: bool) -> int:
    """Read `25%` or a number."""
    if isinstance(limit, int):
        return limit
    exact = of * int(limit.removesuffix("%")) / 100
    return math.ceil(exact) if up else math.floor(exact)


def place_of(body: Body) -> tuple[str, str]:
    return body["metadata"]["namespace"], body["metadata"]["name"]


def owner_of(body: Body) -> str:
    """Give the name of its owner; empty where it has none."""
    references = body["metadata"].get("ownerReferences") or [{"name": ""}]
    return str(references[0]["name"])


def is_ready(pod: Body) -> bool:
    return any(one["type"] == "Ready" and one["status"] == "True" for one in pod["status"]["conditions"])


def is_ending(pod: Body) -> bool:
    return "deletionTimestamp" in pod["metadata"]

"""The control plane as workloads: its Deployments, how far each has come, and its pods."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from meshtrust.mesh import names
from meshtrust.mesh.look import moment
from meshtrust.mesh.model import Part, Rollout, Sight
from meshtrust.versions import image_version

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from meshtrust.mesh.look import Look
    from meshtrust.objects import KubeObject

_FINISHED = frozenset({"Succeeded", "Failed"})


def read_rollouts(look: Look, home: str) -> tuple[Rollout, ...]:
    return tuple(_rollouts(look, home))


def read_parts(look: Look, home: str) -> tuple[Part, ...]:
    return tuple(_parts(look, home))


def _rollouts(look: Look, home: str) -> Iterator[Rollout]:
    for found in look.objects(Sight.ROLLOUTS, "Deployment", namespace=home):
        spec, status, metadata = found.body.get("spec", {}), found.body.get("status", {}), found.body["metadata"]
        template = spec.get("template", {})
        labels = template.get("metadata", {}).get("labels") or {}
        if part := _part(labels, template.get("spec", {})):
            wanted = spec.get("replicas")
            yield Rollout(
                ref=found.ref,
                part=part,
                revision=labels.get(names.REVISION, ""),
                wanted=1 if wanted is None else wanted,
                total=status.get("replicas", 0),
                updated=status.get("updatedReplicas", 0),
                ready=status.get("readyReplicas", 0),
                available=status.get("availableReplicas", 0),
                observed=status.get("observedGeneration", 0) >= metadata.get("generation", 0),
                paused=spec.get("paused", False),
                resource_version=metadata.get("resourceVersion", ""),
            )


def _parts(look: Look, home: str) -> Iterator[Part]:
    for found in look.objects(Sight.SETTINGS, "Pod", namespace=home):
        if found.body.get("status", {}).get("phase") in _FINISHED:
            continue
        spec = found.body.get("spec", {})
        if part := _part(found.labels, spec):
            containers = {one.get("name", ""): one.get("image", "") for one in spec.get("containers") or ()}
            yield Part(
                ref=found.ref,
                part=part,
                revision=found.labels.get(names.REVISION, ""),
                version=image_version(containers[part]),
                proxied=names.PROXY_CONTAINER in containers,
                ready=_is_ready(found, part),
                ending=bool(found.body["metadata"].get("deletionTimestamp")),
                started=moment(_state(found, part).get("state", {}).get("running", {}).get("startedAt", "")),
            )


def _part(labels: Mapping[str, str], spec: Mapping[str, Any]) -> str:
    """The container that makes a pod a part of the control plane; empty where none does."""
    for key in ("app", "istio"):
        if wanted := names.CONTROL_PLANE.get((key, labels.get(key, ""))):
            held = (container.get("name", "") for container in spec.get("containers") or ())
            return next((name for name in held if name in wanted), "")
    return ""


def _is_ready(pod: KubeObject, part: str) -> bool:
    return bool(_state(pod, part).get("ready"))


def _state(pod: KubeObject, part: str) -> Mapping[str, Any]:
    known = pod.body.get("status", {}).get("containerStatuses") or ()
    found: Mapping[str, Any] = next((one for one in known if one.get("name") == part), {})
    return {
        **found,
        "state": {**(found.get("state") or {}), "running": (found.get("state") or {}).get("running") or {}},
    }

"""Changes of objects: merge patches, and the edits of a description."""

from __future__ import annotations

import base64
import copy
from typing import TYPE_CHECKING, Any

from sandbox import shapes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sandbox.mesh import Edit, Mesh
    from sandbox.shapes import Body

Key = tuple[str, str, str]  # kind, namespace, name


def key_of(body: Body) -> Key:
    metadata = body["metadata"]
    return body["kind"], metadata.get("namespace", ""), metadata["name"]


def apply(edit: Edit, bodies: dict[Key, Body], mesh: Mesh) -> None:
    key = (edit.kind, edit.namespace, edit.name)
    if edit.patch is None:
        del bodies[key]
        return
    fresh: Body = {"apiVersion": _api_version(edit.kind, mesh), "kind": edit.kind}
    fresh["metadata"] = shapes.meta(edit.name, edit.namespace, mesh.now + mesh.ca.created)
    bodies[key] = with_string_data(merged(bodies.get(key, fresh), edit.patch))


def _api_version(kind: str, mesh: Mesh) -> str:
    networking = "networking.istio.io/v1alpha3" if mesh.era == "citadel" else "networking.istio.io/v1"
    return {
        "Deployment": "apps/v1",
        "DaemonSet": "apps/v1",
        "PeerAuthentication": "security.istio.io/v1",
        "DestinationRule": networking,
        "WorkloadEntry": networking,
        "Policy": "authentication.istio.io/v1alpha1",
        "MeshPolicy": "authentication.istio.io/v1alpha1",
    }.get(kind, "v1")


def merged(body: Any, patch: Any) -> Any:
    """Merge a patch into a body as RFC 7386 has it; the body stays as it was."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    result = dict(body) if isinstance(body, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result


def with_string_data(body: Body) -> Body:
    """Move the `stringData` of a Secret into its data, as the API server does."""
    texts: Mapping[str, str] = body.pop("stringData", {})
    encoded = {key: base64.b64encode(text.encode()).decode() for key, text in texts.items()}
    return body | ({"data": {**(body.get("data") or {}), **encoded}} if encoded else {})

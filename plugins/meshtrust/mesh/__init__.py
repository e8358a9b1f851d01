"""What Istio calls things: from Kubernetes objects to the trust of a mesh. Istio's names live here and nowhere else."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from meshtrust.mesh.instances import by_trust_bundle, leaf_life, renewal
from meshtrust.mesh.look import Look
from meshtrust.mesh.model import (
    Anchor,
    Authority,
    Copy,
    Era,
    Gap,
    Instance,
    Kind,
    Mesh,
    Part,
    Place,
    Proxy,
    ProxyKind,
    Renewal,
    RevisionFrom,
    RevocationList,
    Role,
    Rollout,
    Sight,
    VersionFrom,
    WorkloadCertificate,
)
from meshtrust.mesh.proxies import control_planes_of, read_proxies, read_ztunnels
from meshtrust.mesh.rollouts import read_parts, read_rollouts

if TYPE_CHECKING:
    from meshtrust.mesh.memory import Memory, Shown, read_memory
    from meshtrust.mesh.publishing import Hooks, hooks_of, publishes, read_hooks, read_places, unpublished
    from meshtrust.mesh.reading import read_meshes
    from meshtrust.mesh.workloads import claimed, read_workloads, serving, unserved

# What reads certificates is imported when it is asked for: `cryptography` is a tenth of a second, and 10 MB.
_READ_CERTIFICATES = {
    **dict.fromkeys(("Memory", "Shown", "read_memory"), "memory"),
    **dict.fromkeys(("Hooks", "hooks_of", "publishes", "read_hooks", "read_places", "unpublished"), "publishing"),
    "read_meshes": "reading",
    **dict.fromkeys(("claimed", "read_workloads", "serving", "unserved"), "workloads"),
}

__all__ = [
    "Anchor",
    "Authority",
    "Copy",
    "Era",
    "Gap",
    "Hooks",
    "Instance",
    "Kind",
    "Look",
    "Memory",
    "Mesh",
    "Part",
    "Place",
    "Proxy",
    "ProxyKind",
    "Renewal",
    "RevisionFrom",
    "RevocationList",
    "Role",
    "Rollout",
    "Shown",
    "Sight",
    "VersionFrom",
    "WorkloadCertificate",
    "by_trust_bundle",
    "claimed",
    "control_planes_of",
    "hooks_of",
    "leaf_life",
    "publishes",
    "read_hooks",
    "read_memory",
    "read_meshes",
    "read_parts",
    "read_places",
    "read_proxies",
    "read_rollouts",
    "read_workloads",
    "read_ztunnels",
    "renewal",
    "serving",
    "unpublished",
    "unserved",
]


def __getattr__(name: str) -> Any:
    if name not in _READ_CERTIFICATES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_READ_CERTIFICATES[name]}"), name)

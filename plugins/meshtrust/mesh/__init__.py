"""What Istio calls things: from Kubernetes objects to the trust of a mesh. Istio's names live here and nowhere else."""

from meshtrust.mesh.instances import renewal
from meshtrust.mesh.model import (
    Anchor,
    Authority,
    Copy,
    Era,
    Gap,
    Instance,
    Kind,
    Mesh,
    Renewal,
    RevocationList,
    Role,
    Sight,
)
from meshtrust.mesh.reading import read_meshes

__all__ = [
    "Anchor",
    "Authority",
    "Copy",
    "Era",
    "Gap",
    "Instance",
    "Kind",
    "Mesh",
    "Renewal",
    "RevocationList",
    "Role",
    "Sight",
    "read_meshes",
    "renewal",
]

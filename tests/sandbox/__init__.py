"""A pretend Kubernetes API server that holds a described mesh, for tests, demos and benches."""

from sandbox.issuing import Ca, Leaf
from sandbox.mesh import Account, Authority, ControlPlane, Edit, Identity, Mesh, Namespace, Proxy

__all__ = [
    "Account",
    "Authority",
    "Ca",
    "ControlPlane",
    "Edit",
    "Identity",
    "Leaf",
    "Mesh",
    "Namespace",
    "Proxy",
]

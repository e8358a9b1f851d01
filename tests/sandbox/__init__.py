"""A pretend Kubernetes API server that holds a described mesh, for tests, demos and benches."""

from sandbox.description import DescriptionError, parse_mesh, read_mesh
from sandbox.faults import Answer, Cut, Lost, Request, Reset, Silence, Slow
from sandbox.issuing import Ca, Leaf
from sandbox.lively import Lively
from sandbox.mesh import Account, Authority, ControlPlane, Edit, Identity, Mesh, Namespace, Proxy
from sandbox.server import Server, serve

__all__ = [
    "Account",
    "Answer",
    "Authority",
    "Ca",
    "ControlPlane",
    "Cut",
    "DescriptionError",
    "Edit",
    "Identity",
    "Leaf",
    "Lively",
    "Lost",
    "Mesh",
    "Namespace",
    "Proxy",
    "Request",
    "Reset",
    "Server",
    "Silence",
    "Slow",
    "parse_mesh",
    "read_mesh",
    "serve",
]

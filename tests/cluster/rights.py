"""A user with no rights but those that a test gives it, by the API server's own RBAC."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from cluster.mesh import CA_SECRET, CACERTS, eventually
from cluster.workloads import HOME

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cluster.mesh import Mesh

USER = "watcher"
_RBAC = "rbac.authorization.k8s.io"


class Right(NamedTuple):
    """One right: without a name for all objects of the resource, without a namespace in all of them."""

    verb: str
    resource: str
    name: str = ""
    namespace: str = ""
    group: str = ""

    def __str__(self) -> str:
        return f"{self.verb} {self.resource}" + (f' "{self.name}"' if self.name else "")


# What the manual prints.
EXPIRY = (
    Right("list", "pods"),
    Right("get", "secrets", CA_SECRET, HOME),
    Right("get", "secrets", CACERTS, HOME),
    Right("get", "secrets", "istiod-tls", HOME),
    Right("list", "configmaps"),
)
CERTVERIFY = (
    *EXPIRY,
    Right("list", "namespaces"),
    Right("list", "mutatingwebhookconfigurations", group="admissionregistration.k8s.io"),
    Right("list", "validatingwebhookconfigurations", group="admissionregistration.k8s.io"),
    Right("get", "configmaps", "istio", HOME),
    Right("list", "workloadentries", group="networking.istio.io"),
    Right("get", "pods/portforward"),
    Right("create", "pods/portforward"),
)


@contextmanager
def granted(mesh: Mesh, rights: tuple[Right, ...], without: Right | None = None) -> Iterator[None]:
    """Give the user these rights and no other, for a while; the API server takes a moment to know."""
    given = tuple(right for right in rights if right != without)
    mesh.ground.apply(
        _role("ClusterRole", "", [_rule(right) for right in given if not right.namespace]),
        _role("Role", HOME, [_rule(right) for right in given if right.namespace]),
        _binding("ClusterRole", ""),
        _binding("Role", HOME),
    )
    try:
        eventually(lambda: all(_may(mesh, right) == (right in given) for right in rights), "the rights are known")
        yield
    finally:
        mesh.ground.kubectl("delete", "clusterrolebinding", USER)
        mesh.ground.kubectl("-n", HOME, "delete", "rolebinding", USER)


def _may(mesh: Mesh, right: Right) -> bool:
    resource, _, subresource = right.resource.partition("/")
    what = f"{resource}.{right.group}" if right.group else resource
    part = ("--subresource", subresource) if subresource else ()
    where = ("-n", right.namespace) if right.namespace else ("-A",)
    named = f"{what}/{right.name}" if right.name else what
    asked = mesh.ground.run("kubectl", "auth", "can-i", right.verb, named, *part, *where, "--as", USER)
    return asked.stdout.strip() == "yes"


def _rule(right: Right) -> dict[str, Any]:
    named = {"resourceNames": [right.name]} if right.name else {}
    return {"apiGroups": [right.group], "resources": [right.resource], "verbs": [right.verb], **named}


def _role(kind: str, namespace: str, rules: list[dict[str, Any]]) -> dict[str, Any]:
    return {"apiVersion": f"{_RBAC}/v1", "kind": kind, "metadata": _named(namespace), "rules": rules}


def _binding(kind: str, namespace: str) -> dict[str, Any]:
    return {
        "apiVersion": f"{_RBAC}/v1",
        "kind": f"{kind}Binding",
        "metadata": _named(namespace),
        "subjects": [{"kind": "User", "name": USER, "apiGroup": _RBAC}],
        "roleRef": {"kind": kind, "name": USER, "apiGroup": _RBAC},
    }


def _named(namespace: str) -> dict[str, str]:
    return {"name": USER, **({"namespace": namespace} if namespace else {})}

"""A user with no rights but those that the manual prints can ask; with one less, the answer names what it lacks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from cluster.mesh import CA_SECRET, CACERTS, Mesh, eventually
from cluster.workloads import HOME

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cluster.plugins import Plugin

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


@pytest.fixture(autouse=True)
def _no_rights(mesh: Mesh) -> Iterator[None]:
    yield
    mesh.ground.kubectl("delete", "clusterrolebinding", USER, "--ignore-not-found")
    mesh.ground.kubectl("-n", HOME, "delete", "rolebinding", USER, "--ignore-not-found")


def test_the_printed_rights_of_expiry_are_enough(mesh: Mesh, expiry: Plugin) -> None:
    _grant(mesh, EXPIRY)
    theirs, everything = expiry(user=USER), expiry()
    assert (theirs.code, theirs.levels) == (0, {})
    assert theirs.verdict == everything.verdict


@pytest.mark.parametrize("missing", EXPIRY, ids=str)
def test_with_one_right_less_expiry_is_unknown_and_names_it(mesh: Mesh, expiry: Plugin, missing: Right) -> None:
    _grant(mesh, EXPIRY, missing)
    answer = expiry(user=USER)
    assert answer.code == 3
    assert f"cannot {missing}" in answer.unseen + answer.stderr


def test_public_needs_no_right_to_a_secret(mesh: Mesh, expiry: Plugin) -> None:
    _grant(mesh, tuple(right for right in EXPIRY if right.resource != "secrets"))
    answer = expiry("--public", user=USER)
    assert (answer.code, answer.levels) == (0, {})


def test_the_printed_rights_of_certverify_are_enough(mesh: Mesh, certverify: Plugin) -> None:
    _grant(mesh, CERTVERIFY)
    theirs, everything = certverify(user=USER), certverify()
    assert (theirs.code, theirs.levels) == (0, {})
    assert theirs.verdict == everything.verdict


@pytest.mark.parametrize("missing", CERTVERIFY, ids=str)
def test_with_one_right_less_certverify_is_unknown_and_names_it(mesh: Mesh, certverify: Plugin, missing: Right) -> None:
    _grant(mesh, CERTVERIFY, missing)
    answer = certverify(user=USER)
    assert answer.code == 3
    assert str(missing) in (answer.unseen + answer.stderr).replace(f".{missing.group}", "").replace(
        'resource "pods', "pods"
    )


def test_proxyver_needs_the_right_to_list_pods_alone(mesh: Mesh, proxyver: Plugin) -> None:
    _grant(mesh, EXPIRY[:1])
    answer = proxyver(user=USER)
    assert (answer.code, answer.levels) == (0, {})


def _grant(mesh: Mesh, rights: tuple[Right, ...], without: Right | None = None) -> None:
    """Give the user these rights and no other; the API server takes a moment to know."""
    granted = tuple(right for right in rights if right != without)
    mesh.ground.apply(
        _role("ClusterRole", "", [_rule(right) for right in granted if not right.namespace]),
        _role("Role", HOME, [_rule(right) for right in granted if right.namespace]),
        _binding("ClusterRole", ""),
        _binding("Role", HOME),
    )
    eventually(lambda: all(_may(mesh, right) == (right in granted) for right in rights), "the rights are known")


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

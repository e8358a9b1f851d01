"""A user with no rights but those that the manual prints can ask; with one less, the answer names what it lacks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from cluster.mesh import CA_SECRET, CACERTS, Mesh, eventually
from cluster.workloads import HOME

if TYPE_CHECKING:
    from cluster.plugins import Plugin

SERVING = "istiod-tls"
# Verb, resource, its name, its namespace: where there is none, all of them.
EXPIRY = (
    ("list", "pods", "", ""),
    ("get", "secrets", CA_SECRET, HOME),
    ("get", "secrets", CACERTS, HOME),
    ("get", "secrets", SERVING, HOME),
    ("list", "configmaps", "", ""),
)
Right = tuple[str, str, str, str]


def test_the_printed_rights_of_expiry_are_enough(mesh: Mesh, expiry: Plugin) -> None:
    _grant(mesh, *EXPIRY)
    theirs, everything = expiry(user="watcher"), expiry()
    assert (theirs.code, theirs.levels) == (0, {})
    assert theirs.verdict == everything.verdict


@pytest.mark.parametrize("missing", EXPIRY, ids=lambda right: " ".join(right).strip())
def test_with_one_right_less_expiry_is_unknown_and_names_it(mesh: Mesh, expiry: Plugin, missing: Right) -> None:
    _grant(mesh, *(right for right in EXPIRY if right != missing))
    verb, resource, name, _ = missing
    answer = expiry(user="watcher")
    assert answer.code == 3
    assert f"cannot {verb} {resource}" + (f' "{name}"' if name else "") in answer.unseen + answer.stderr


def test_public_needs_no_right_to_a_secret(mesh: Mesh, expiry: Plugin) -> None:
    _grant(mesh, *(right for right in EXPIRY if right[1] != "secrets"))
    answer = expiry("--public", user="watcher")
    assert (answer.code, answer.levels) == (0, {})


def _grant(mesh: Mesh, *rights: Right) -> None:
    """Give the user these rights and no other; the API server takes a moment to know."""
    everywhere = [_rule(*right) for right in rights if not right[3]]
    at_home = [_rule(*right) for right in rights if right[3]]
    mesh.ground.apply(
        _role("ClusterRole", "", everywhere),
        _role("Role", HOME, at_home),
        _binding("ClusterRole", ""),
        _binding("Role", HOME),
    )
    eventually(lambda: {right for right in EXPIRY if _may(mesh, *right)} == set(rights), "the rights are known")


def _may(mesh: Mesh, verb: str, resource: str, name: str, namespace: str) -> bool:
    what = f"{resource}/{name}" if name else resource
    where = ("-n", namespace) if namespace else ("-A",)
    asked = mesh.ground.run("kubectl", "auth", "can-i", verb, what, *where, "--as", "watcher")
    return asked.stdout.strip() == "yes"


def _rule(verb: str, resource: str, name: str, _namespace: str) -> dict[str, Any]:
    named = {"resourceNames": [name]} if name else {}
    return {"apiGroups": [""], "resources": [resource], "verbs": [verb], **named}


def _role(kind: str, namespace: str, rules: list[dict[str, Any]]) -> dict[str, Any]:
    return {"apiVersion": _RBAC, "kind": kind, "metadata": _named(namespace), "rules": rules}


def _binding(kind: str, namespace: str) -> dict[str, Any]:
    subjects = [{"kind": "User", "name": "watcher", "apiGroup": "rbac.authorization.k8s.io"}]
    reference = {"kind": kind, "name": "watcher", "apiGroup": "rbac.authorization.k8s.io"}
    metadata = _named(namespace)
    return {
        "apiVersion": _RBAC,
        "kind": f"{kind}Binding",
        "metadata": metadata,
        "subjects": subjects,
        "roleRef": reference,
    }


def _named(namespace: str) -> dict[str, str]:
    return {"name": "watcher", **({"namespace": namespace} if namespace else {})}


_RBAC = "rbac.authorization.k8s.io/v1"

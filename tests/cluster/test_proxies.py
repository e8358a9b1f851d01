"""Real Envoys are asked through a real API server and kubelet, by a forwarded port and by their agents."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import TYPE_CHECKING, Any

import pytest

from cluster.mesh import Mesh, eventually

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SECRETS = "config_dump?mask=dynamic_active_secrets,dynamic_warming_secrets"
USER = "asker"
_RBAC = "rbac.authorization.k8s.io"
_ASK = """
import json, sys
from meshtrust.cluster import Cluster, Connection
from meshtrust.errors import ToolError
from meshtrust.objects import Ref
place, path, port, user = Ref("Pod", sys.argv[1], sys.argv[2]), sys.argv[3], int(sys.argv[4]), sys.argv[5]
lines = []
with Cluster(Connection(as_user=user), lines.append) as cluster:
    try:
        text = cluster.proxy_admin(place, path, port=port, container="istio-proxy").decode()
        refusal = ""
    except ToolError as error:
        text, refusal = "", f"{type(error).__name__}: {error.message}"
print(json.dumps([text, refusal, [line.partition("?")[0].rpartition("/")[2] for line in lines]]))
"""


@dataclass(frozen=True, slots=True)
class Asked:
    """What came of one question, and in which ways it was asked."""

    text: str
    refusal: str
    ways: list[str]


@pytest.fixture
def pods(mesh: Mesh) -> list[tuple[str, str]]:
    """Namespace and name of every pod with an Envoy: sidecars of both kinds, and a gateway."""
    found = mesh.ground.get("pods", "-A")["items"]
    metadata = [pod["metadata"] for pod in found if '"name": "istio-proxy"' in json.dumps(pod["spec"])]
    return [(one["namespace"], one["name"]) for one in metadata]


@pytest.fixture
def ledger(pods: list[tuple[str, str]]) -> tuple[str, str]:
    return next(pod for pod in pods if pod[0] == "bank")


@pytest.fixture(autouse=True)
def _no_rights(mesh: Mesh) -> Iterator[None]:
    _grant(mesh)
    yield
    _grant(mesh)


def test_every_envoy_answers_through_a_forwarded_port(mesh: Mesh, pods: list[tuple[str, str]]) -> None:
    assert len(pods) >= 4
    for pod in pods:
        (shown,) = json.loads(_ask(mesh, pod, SECRETS).text)["configs"]
        assert {one["name"] for one in shown["dynamic_active_secrets"]} == {"default", "ROOTCA"}
        assert json.loads(_ask(mesh, pod, "certs").text)["certificates"]


def test_a_long_answer_comes_whole(mesh: Mesh, ledger: tuple[str, str]) -> None:
    text = _ask(mesh, ledger, "config_dump?include_eds").text
    assert len(text) > 100_000
    assert json.loads(text)["configs"]


def test_what_is_not_there_is_said(mesh: Mesh, ledger: tuple[str, str]) -> None:
    assert _ask(mesh, ledger, "certs", port=15999).refusal == "Unreachable: nothing listens at port 15999"
    assert _ask(mesh, ledger, "nonsense").refusal == "Unreachable: the proxy answered 404 Not Found to nonsense"
    assert _ask(mesh, ("bank", "gone"), "certs").refusal == "Unreachable: the pod is not there any more"


def test_the_agent_answers_the_same_where_forwarding_is_forbidden(mesh: Mesh, pods: list[tuple[str, str]]) -> None:
    _grant(mesh, exec=("get", "create"))
    for pod in pods:
        executed = _ask(mesh, pod, SECRETS, user=USER)
        assert executed.ways == ["portforward", "exec"]
        assert json.loads(executed.text) == json.loads(_ask(mesh, pod, SECRETS).text)


@pytest.mark.parametrize(("granted", "missing"), [((), "get"), (("get",), "create")])
def test_both_missing_rights_are_named_by_the_verb_that_is_wanted(
    mesh: Mesh, ledger: tuple[str, str], granted: tuple[str, ...], missing: str
) -> None:
    _grant(mesh, exec=granted, portforward=granted)
    rights = f'cannot {missing} pods/portforward in namespace "bank", nor {missing} pods/exec'
    assert _ask(mesh, ledger, "certs", user=USER).refusal.endswith(rights)


def _ask(mesh: Mesh, pod: tuple[str, str], path: str, *, port: int = 15000, user: str = "") -> Asked:
    return Asked(*json.loads(mesh.ground.say(sys.executable, "-W", "error", "-c", _ASK, *pod, path, str(port), user)))


def _grant(mesh: Mesh, **verbs: tuple[str, ...]) -> None:
    """Give the user these verbs on these subresources of pods, and no other right; the server takes a moment."""
    rules = [
        {"apiGroups": [""], "resources": [f"pods/{subresource}"], "verbs": granted}
        for subresource, granted in verbs.items()
        if granted
    ]
    mesh.ground.apply(_object("ClusterRole", rules=rules), _object("ClusterRoleBinding", **_binding()))
    for subresource, verb in product(("portforward", "exec"), ("get", "create")):
        wanted = "yes" if verb in verbs.get(subresource, ()) else "no"
        eventually(partial(_is_allowed, mesh, subresource, verb, wanted), f"{verb} {subresource}: {wanted}")


def _is_allowed(mesh: Mesh, subresource: str, verb: str, wanted: str) -> bool:
    what = ("pods", f"--subresource={subresource}", "-A", "--as", USER)
    return mesh.ground.run("kubectl", "auth", "can-i", verb, *what).stdout.strip() == wanted


def _object(kind: str, **parts: Any) -> Mapping[str, Any]:
    return {"apiVersion": f"{_RBAC}/v1", "kind": kind, "metadata": {"name": USER}, **parts}


def _binding() -> Mapping[str, Any]:
    return {
        "subjects": [{"kind": "User", "name": USER, "apiGroup": _RBAC}],
        "roleRef": {"kind": "ClusterRole", "name": USER, "apiGroup": _RBAC},
    }

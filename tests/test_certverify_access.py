"""Rights that are missing, requests that fail, proxies that do not answer: unknown, said once, and never fine."""

from __future__ import annotations

import io
import json
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from meshes import NOW
from meshtrust.cluster import Cluster, Connection
from meshtrust.errors import ToolError
from meshtrust.manifests import Recording
from meshtrust.manifests.recorder import Recorder
from meshtrust.source import Scope
from sandbox import Answer, Cut, Edit, Namespace, Proxy, Reset, Silence
from sandbox.server import serve
from transitions import typed
from verified_meshes import BEHIND, CASES, EVERYTHING, UNSEEN, proxies
from verifying import details, levels, live, recorded, verified

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from meshtrust.report import Report
    from sandbox.server import Server

HEALTHY = proxies()


@pytest.fixture
def server() -> Iterator[Server]:
    with serve(HEALTHY) as running:
        yield running


def reasons(found: Report) -> dict[str, int]:
    """How many places stayed unseen, by the reason."""
    gaps = {gap for finding in found.findings for gap in finding.unseen}
    return {why: sum(gap.why == why for gap in gaps) for why in {gap.why for gap in gaps}}


def test_where_port_forward_and_exec_are_forbidden_every_proxy_is_unknown_with_one_reason(server: Server) -> None:
    server.access.forbid("*", "pods/portforward")
    server.access.forbid("*", "pods/exec")
    found = live(server)
    assert levels(found) == dict.fromkeys(UNSEEN, "unknown")
    ((why, number),) = reasons(found).items()
    assert number == len(EVERYTHING)
    assert "pods/portforward" in why
    assert "pods/exec" in why


def test_where_port_forward_is_forbidden_exec_tells_of_envoys(server: Server) -> None:
    server.access.forbid("*", "pods/portforward")
    found = live(server)
    unseen = [row["place"] for row in found.rows if row["level"] == "unknown"]
    assert [place.rpartition("-")[0] for place in unseen] == ["Pod istio-system/ztunnel"]  # it has no agent


def test_a_right_that_is_missing_in_one_namespace_costs_its_proxies_only(server: Server) -> None:
    server.access.forbid("*", "pods/*", namespace="shop")
    unseen = {row["place"].partition("/")[0] for row in live(server).rows if row["level"] == "unknown"}
    assert unseen == {"Pod shop"}


@pytest.mark.parametrize(
    ("resource", "checks"),
    [
        ("secrets", {"root-known", "ca-loaded", "root-held", "leaf-verifies", "serving-trusted"}),
        ("configmaps", {"root-known", "ca-loaded", "copies-agree", "copies-complete"}),
        ("namespaces", {"copies-complete"}),
        ("mutatingwebhookconfigurations", {"webhooks-agree"}),
        ("pods", {"root-held", "delivered"}),
        ("workloadentries", set()),
    ],
)
def test_what_may_not_be_read_is_unknown(server: Server, resource: str, checks: set[str]) -> None:
    server.access.forbid("*", resource)
    found = levels(live(server, scope=Scope(istio_namespace="istio-system")))
    assert checks <= set(found)
    assert set(found.values()) <= {"unknown"}


@pytest.mark.parametrize(("open_in", "number"), [((), "any"), (("shop",), 41)])
def test_a_right_that_is_missing_in_many_namespaces_is_said_once_with_their_number(
    open_in: tuple[str, ...], number: object
) -> None:
    teams = tuple(Namespace(f"team-{at}") for at in range(39))
    with serve(replace(HEALTHY, namespaces=teams)) as server:
        places = [one["metadata"]["name"] for one in server.objects("Namespace")]
        for place in {"", *places}.difference(open_in):
            server.forbid("list", "pods", namespace=place)
        done = typed(server, "--live", module="istio_certverify")
    said = [line for line in done.stdout.splitlines() if "not seen" in line and "nor in" in line]
    assert (done.returncode, [line.rpartition(", nor ")[2] for line in said]) == (3, [f"in {number} of 42 namespaces"])
    assert "cannot list pods in namespace" not in done.stdout


def test_on_a_mesh_of_istiod_leftovers_that_may_not_be_listed_are_no_gap(server: Server) -> None:
    server.access.forbid("list", "secrets")
    assert levels(live(server)) == {}


def test_on_a_mesh_of_citadel_secrets_that_may_not_be_listed_are_unknown() -> None:
    with serve(CASES["healthy-citadel"].mesh) as server:
        server.access.forbid("list", "secrets")
        assert levels(live(server, live=False))["leaf-named"] == "unknown"


def test_the_public_objects_alone_are_a_reference(server: Server) -> None:
    server.access.forbid("*", "secrets")
    found = live(server, scope=Scope(public=True))
    assert (str(found.status), len(found.rows)) == ("ok", 14)


@pytest.mark.parametrize("fault", [Answer(500), Answer(503), Answer(429), Reset(), Cut(), Answer(403), Answer(302)])
@pytest.mark.parametrize(
    "path",
    [
        "*/pods",
        "*/configmaps",
        "*/secrets/*",
        "*/namespaces",
        "*webhookconfigurations",
        "*/serviceaccounts",
        "*/secrets",
    ],
)
def test_a_fault_on_one_request_never_makes_anything_fine(fault: object, path: str) -> None:
    with serve(BEHIND) as server:
        wanted = live(server, live=False)
        server.faults.add(fault, path=path, times=1)  # type: ignore[arg-type]  # each of them is a fault
        found: Report | None = None
        with suppress(ToolError):
            found = live(server, live=False)
    if found and not any(finding.unseen for finding in found.findings):
        assert found.rows == wanted.rows
    else:
        assert found is None or str(found.status) in {"unknown", "critical"}


def test_a_thousand_namespaces_cost_a_few_requests() -> None:
    teams = tuple(Namespace(f"team-{number:04}") for number in range(1000))
    with serve(replace(HEALTHY, namespaces=teams)) as server:
        live(server, live=False)
        assert len(server.requests) < 30


@pytest.mark.parametrize("fault", [Answer(503), Answer(302), Reset(), Answer(404), Answer(200, body="{}")])
def test_a_port_forward_that_fails_costs_its_proxy_only(server: Server, fault: object) -> None:
    server.faults.add(fault, path="*/pods/vault-*/portforward")  # type: ignore[arg-type]  # each of them is a fault
    found = live(server)
    unseen = [row["place"] for row in found.rows if row["level"] == "unknown"]
    assert [place.startswith("Pod bank/vault-") for place in unseen] == [True]


def test_a_dead_node_costs_its_own_pods_only() -> None:
    dead = tuple(Proxy("dead", "shop", node="node2", answers="hangs") for _ in range(6))
    with serve(proxies(*dead)) as server:
        found = live(server, request_timeout=1.0, concurrency=4)
    assert sum(row["level"] == "unknown" for row in found.rows) == 6
    assert {row["level"] for row in found.rows if "/dead-" not in row["place"]} == {"ok"}


def test_what_is_not_reached_before_the_deadline_is_unknown() -> None:
    slow = tuple(Proxy("slow", "shop", answers="hangs") for _ in range(4))
    with serve(proxies(*slow)) as server:
        found = live(server, timeout=2.0)
    late = [row for row in found.rows if row["level"] == "unknown"]
    assert ({row["detail"] for row in late}, len(late)) == ({"not reached before the end"}, 4)
    assert str(found.status) == "unknown"


SILENT: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "secrets": ("*/secrets/*", {}),
    "webhooks": ("*webhookconfigurations", {}),
    "namespaces": ("/api/v1/namespaces", {}),
    "pods": ("/api/v1/pods", {"labelSelector": ""}),
    "the next page of pods": ("/api/v1/pods", {"continue": "?*"}),
}


@pytest.mark.parametrize("kind", SILENT)
def test_a_request_that_hangs_takes_no_longer_than_is_left_of_the_time_and_the_rest_is_unknown(kind: str) -> None:
    """Without the deadline it would hang for ever: no request has a limit of its own."""
    path, query = SILENT[kind]
    many = tuple(Proxy(f"web{number}", "shop") for number in range(600))
    with serve(proxies(*many) if "continue" in query else HEALTHY) as server:
        server.faults.add(Silence(), path=path, query=query)
        done = typed(server, "--timeout", "3s", "--request-timeout", "0", "-o", "json", module="istio_certverify")
    found = json.loads(done.stdout)
    unseen = [gap["why"] for finding in found["findings"] for gap in finding["unseen"]]
    assert (done.returncode, done.stderr, found["status"]) == (3, "", "unknown")
    assert "ConfigMap" in {row["holder"] for row in found["rows"] if row["level"] == "ok"}
    assert any(why.endswith("no answer before --timeout") for why in unseen)


def test_where_already_the_first_request_hangs_nothing_was_read_when_time_is_up(server: Server) -> None:
    server.faults.add(Silence())
    done = typed(server, "--timeout", "1s", "--request-timeout", "0", module="istio_certverify")
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith("error: cannot list pods at the cluster scope: no answer before --timeout")


def test_a_recording_of_what_was_reached_before_the_deadline_is_written(server: Server, tmp_path: Path) -> None:
    server.faults.add(Silence(), path="/api/v1/pods", query={"labelSelector": ""})
    file = tmp_path / "mesh.yaml"
    done = typed(server, "--timeout", "3s", "--request-timeout", "0", "--record", str(file), module="istio_certverify")
    assert done.returncode == 3
    again = verified(Recording.read([str(file)], io.BytesIO()))
    assert [row["holder"] for row in again.rows][:3] == ["ConfigMap"] * 3


def test_zero_judged_is_unknown(tmp_path: Path) -> None:
    found = recorded(CASES["no-proxies"].mesh, tmp_path, stored=False)
    assert (found.checked, str(found.status)) == (0, "unknown")


def test_a_recording_without_the_answers_of_proxies_is_unknown_unless_only_what_is_stored_is_asked(
    tmp_path: Path,
) -> None:
    source = Recording.read([str(HEALTHY.dump(tmp_path / "mesh.yaml"))], io.BytesIO())
    assert (str(verified(source).status), str(verified(source, live=False).status)) == ("unknown", "ok")


def test_a_refusal_that_a_later_try_overcame_is_not_recorded(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "mesh.json"
    server.faults.add(Answer(403), path="*/mutatingwebhookconfigurations", times=1)
    server.faults.add(Answer(403), path="*/portforward", times=1)
    server.faults.add(Answer(403), path="*/exec", times=1)
    with Cluster(Connection(kubeconfig=str(server.kubeconfig))) as cluster:
        recorder = Recorder(cluster)
        assert levels(verified(recorder, concurrency=1))["webhooks-agree"] == "unknown"
        assert levels(verified(recorder, concurrency=1)) == {}
        recorder.write(str(path), NOW)
    assert levels(verified(Recording.read([str(path)], io.BytesIO()))) == {}


def test_base64_that_is_not_even_ascii_is_named(tmp_path: Path) -> None:
    text = {"data": {"root-cert.pem": "Zertifikat: \u00e4", "cert-chain.pem": "\u00e4"}}
    mesh = CASES["healthy-citadel"].mesh
    edit = Edit(kind="Secret", namespace="bank", name="istio.default", patch=text)
    found = recorded(replace(mesh, edits=(edit,)), tmp_path)
    assert "not base64" in details(found)["Secret bank/istio.default"]

"""Rights that are missing, requests that fail, proxies that do not answer: unknown, said once, and never fine."""

from __future__ import annotations

import io
import json
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from meshes import NOW, STRANGE, citadel
from meshtrust.cluster import Cluster, Connection
from meshtrust.errors import ToolError
from meshtrust.manifests import Recording
from meshtrust.manifests.recorder import Recorder
from meshtrust.source import Scope
from sandbox import Account, Answer, ControlPlane, Cut, Edit, Namespace, Proxy, Reset, Silence
from sandbox.server import serve
from transitions import typed
from verified_meshes import BEHIND, CASES, EVERYTHING, UNSEEN, proxies, two_citadels
from verifying import details, levels, live, recorded, verified

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from meshtrust.report import Report
    from sandbox import Mesh
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


TWO = CASES["healthy-two-meshes"].mesh


@pytest.mark.parametrize("refused", [("pods",), ("pods", "namespaces", "configmaps")])
def test_where_a_control_plane_could_not_be_looked_for_its_webhooks_are_no_orphans(refused: tuple[str, ...]) -> None:
    with serve(TWO) as server:
        for resource in refused:
            server.access.forbid("list", resource, namespace="")
        done = typed(server, "--stored", module="istio_certverify")
    lines = done.stdout.splitlines()
    assert (done.returncode, "orphan" in done.stdout, "critical" in done.stdout) == (3, False, False)
    assert sum("cannot list pods" in line for line in lines) == 1
    seen = "  Namespace istio-two: not seen: 3 webhooks call it, and no control plane could be looked for there"
    assert lines[lines.index(seen) + 1] == "  -> -i istio-two judges that control plane"


def test_a_home_that_may_not_be_looked_at_either_was_not_seen() -> None:
    with serve(replace(TWO, others=tuple(replace(two, home="aks-istio-system") for two in TWO.others))) as server:
        for place in ("", "aks-istio-system"):
            server.access.forbid("list", "pods", namespace=place)
        done = typed(server, "--stored", module="istio_certverify")
    assert (done.returncode, "orphan" in done.stdout) == (3, False)
    assert "at the cluster scope: looked only in istio-system (-i names another)" in done.stdout


def test_what_no_control_plane_answers_is_an_orphan_where_all_of_them_could_be_looked_for() -> None:
    gone = Edit(kind="Deployment", namespace="istio-two", name="istiod-two")
    none = tuple(replace(two, control_planes=(ControlPlane(revision="two", replicas=0),)) for two in TWO.others)
    with serve(replace(TWO, others=tuple(replace(two, edits=(gone,)) for two in none))) as server:
        seen = typed(server, "--stored", module="istio_certverify")
        server.access.forbid("list", "pods", namespace="")
        unseen = typed(server, "--stored", module="istio_certverify")
    assert ("an orphan" in seen.stdout, "an orphan" in unseen.stdout) == (True, False)


@pytest.mark.parametrize("named", ["istio-system", "istio-two"])
def test_a_control_plane_that_is_named_is_not_held_against_one_that_was_not_seen(named: str) -> None:
    with serve(TWO) as server:
        server.access.forbid("list", "pods", namespace="")
        done = typed(server, "--stored", "-i", named, module="istio_certverify")
    assert (done.returncode, done.stdout.splitlines()[-1].startswith("ok: checked ")) == (0, True)


def test_a_proxy_of_a_control_plane_that_could_not_be_looked_for_is_unknown() -> None:
    with serve(TWO) as server:
        server.access.forbid("list", "pods", namespace="")
        done = typed(server, "--live", "-n", "factory", module="istio_certverify")
        named = typed(server, "--live", "-n", "factory", "-i", "istio-two", module="istio_certverify")
    assert (done.returncode, named.returncode) == (3, 0)
    assert ": not seen: its control plane in istio-two could not be looked for" in done.stdout


def test_the_secrets_of_a_citadel_that_could_not_be_looked_for_are_neither_wrong_nor_missing() -> None:
    with serve(two_citadels()) as server:
        server.access.forbid("list", "pods", namespace="")
        done = typed(server, "--stored", module="istio_certverify")
    assert (done.returncode, "warning" in done.stdout, "critical" in done.stdout) == (3, False, False)
    assert "  Namespace istio-two: not seen: namespaces are labelled for the Citadel there, and " in done.stdout


def test_on_a_mesh_of_istiod_leftovers_that_may_not_be_listed_are_no_gap(server: Server) -> None:
    server.access.forbid("list", "secrets")
    assert levels(live(server)) == {}


def test_on_a_mesh_of_citadel_secrets_that_may_not_be_listed_are_unknown() -> None:
    with serve(CASES["healthy-citadel"].mesh) as server:
        server.access.forbid("list", "secrets")
        assert levels(live(server, live=False))["leaf-named"] == "unknown"


SOME_SECRETS = citadel(namespaces=(Namespace("bank", accounts=tuple(Account(f"t{at:03}") for at in range(600))),))


@pytest.mark.parametrize(
    ("fault", "query", "narrowed"),
    [(Answer(403), {}, ()), (Answer(500), {"continue": "?*"}, ()), (Answer(403), {}, ("-n", "bank"))],
)
def test_secrets_of_citadel_that_were_not_all_listed_are_not_missing(
    fault: Answer, query: Mapping[str, str], narrowed: tuple[str, ...]
) -> None:
    with serve(SOME_SECRETS) as server:
        server.shorten_pages(500)
        server.faults.add(fault, path="/api/v1/*secrets", query={"fieldSelector": "type*"} | dict(query))
        done = typed(server, "--stored", *narrowed, module="istio_certverify")
    assert (done.returncode, "missing" in done.stdout, "Secret" in done.stdout) == (3, False, True)


@pytest.mark.parametrize("mesh", [HEALTHY, CASES["healthy-citadel"].mesh])
def test_a_namespace_that_does_not_exist_is_unknown(mesh: Mesh) -> None:
    with serve(mesh) as server:
        done = typed(server, "-n", "nope", module="istio_certverify")
    assert (done.returncode, "missing" in done.stdout) == (3, False)
    assert "  Namespace nope: not seen: no namespace nope" in done.stdout.splitlines()


def test_without_the_labels_of_namespaces_no_secret_is_deleted_that_citadel_may_not_make_anew() -> None:
    left = Namespace("left", labels={"ca.istio.io/override": "false"}, accounts=(Account("old", holds=(STRANGE,)),))
    with serve(citadel(namespaces=(left,))) as server:
        server.access.forbid("list", "namespaces")
        done = typed(server, "--stored", module="istio_certverify")
    assert (done.returncode, "critical" in done.stdout, "kubectl delete" in done.stdout) == (3, False, False)
    assert "whether anybody keeps it current was not seen" in done.stdout


@pytest.mark.parametrize("case", ["stale-copy-in-a-deselected-namespace", "no-copy-in-a-deselected-namespace"])
@pytest.mark.parametrize(("verb", "resource"), [("list", "namespaces"), ("get", "configmaps")])
def test_without_selectors_or_labels_no_copy_is_critical_or_missing(case: str, verb: str, resource: str) -> None:
    with serve(CASES[case].mesh) as server:
        server.access.forbid(verb, resource)
        done = typed(server, "--stored", module="istio_certverify")
    assert (done.returncode, "critical" in done.stdout, "missing" in done.stdout) == (3, False, False)


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


@pytest.mark.parametrize(
    ("options", "why", "hint"),
    [
        (
            ("--timeout", "1s", "--request-timeout", "0"),
            "cannot list pods at the cluster scope: no answer before --timeout",
            "a longer --timeout gives it more time",
        ),
        (
            ("--request-timeout", "1s"),
            "Unable to connect to the server: no answer from ADDRESS within 1s",
            "--request-timeout 60s waits longer, 0 without an end",
        ),
    ],
)
@pytest.mark.parametrize("form", ["table", "json"])
def test_where_already_the_first_request_hangs_nothing_was_read_when_time_is_up(
    server: Server, options: tuple[str, ...], why: str, hint: str, form: str
) -> None:
    why = why.replace("ADDRESS", server.url.rpartition("/")[2])
    server.faults.add(Silence())
    done = typed(server, *options, "-o", form, module="istio_certverify")
    assert (done.returncode, done.stderr) == (3, f"error: {why} - {hint}\n")
    if form == "table":
        assert done.stdout == ""
        return
    told = json.loads(done.stdout)
    (finding,) = told["findings"]
    assert (told["status"], told["counts"], told["rows"]) == ("unknown", {"checked": 0, "unseen": 1}, [])
    assert (finding["check"], finding["unseen"][0]["why"], finding["hint"]) == ("mesh-read", why, hint)


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

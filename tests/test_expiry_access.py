"""What a reading says when it may not, or cannot, see everything: never more than it saw."""

from __future__ import annotations

import io
import json
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from judging import judged, levels, live, unseen
from meshes import CASES, STRANGE, istiod
from meshtrust.errors import ToolError
from meshtrust.manifests import Recording
from sandbox import Namespace
from sandbox.faults import Answer, Cut, Fault, Reset, Silence
from sandbox.server import serve

if TYPE_CHECKING:
    from pathlib import Path

HEALTHY = CASES["healthy-istiod"].mesh


def test_without_the_right_to_read_secrets_the_ca_is_unknown_and_the_public_roots_are_judged() -> None:
    with serve(HEALTHY) as server:
        server.forbid("get", "secrets")
        found = live(server)
    assert str(found.status) == "unknown"
    assert {"key-matches", "signer-valid", "ca-waits"} <= levels(found).keys()
    assert [row["role"] for row in found.rows].count("copy") == 3
    assert any('cannot get secrets "cacerts" in namespace "istio-system"' in why for why in unseen(found))


def test_public_asks_for_no_secret_and_judges_by_the_copy_at_home() -> None:
    with serve(CASES["stale-copy"].mesh) as server:
        found = live(server, public=True)
        asked = [request.path for request in server.requests]
    assert not [path for path in asked if "secrets" in path]
    assert levels(found) == {"copies-agree": "critical"}
    assert "key-matches" in found.not_asked


def test_a_refused_list_of_all_copies_leaves_the_one_at_home() -> None:
    with serve(HEALTHY) as server:
        server.forbid("list", "configmaps", namespace="")
        found = live(server)
    assert levels(found) == {"ca-loaded": "unknown", "copies-agree": "unknown"}
    assert [row["place"] for row in found.rows if row["role"] == "copy"] == [
        "ConfigMap istio-system/istio-ca-root-cert [root-cert.pem]"
    ]


def test_a_refused_list_of_all_pods_looks_at_home_and_says_so() -> None:
    with serve(HEALTHY) as server:
        server.forbid("list", "pods", namespace="")
        found = live(server)
    assert levels(found) == {}
    assert any("looked only in istio-system" in remark for remark in found.remarks)


def test_where_the_control_plane_may_be_seen_nowhere_it_is_denied_and_not_absent() -> None:
    with serve(istiod(home="mesh")) as server:
        server.forbid("list", "pods")
        with pytest.raises(ToolError, match=r"no Istio could be seen: .*cannot list pods"):
            live(server)


def test_a_cluster_without_istio_says_what_was_looked_for() -> None:
    empty = replace(HEALTHY, era="none", ca=replace(HEALTHY.ca, secret=""), namespaces=())
    with serve(empty) as server, pytest.raises(ToolError, match=r"no Istio found: looked for .*istio-ca-secret"):
        live(server)


def test_one_namespace_is_judged_alone_and_the_ca_is_found_all_the_same() -> None:
    with serve(istiod(namespaces=(Namespace("bank", publishes=(STRANGE,)), Namespace("shop")))) as server:
        shop, bank = live(server, namespace="shop"), live(server, namespace="bank")
    assert (levels(shop), levels(bank)) == ({}, {"copies-agree": "critical"})


def test_an_unknown_revision_is_refused_with_those_that_are_there() -> None:
    with serve(CASES["healthy-two-revisions"].mesh) as server:
        with pytest.raises(ToolError, match="no control plane of revision blue") as refused:
            live(server, revision="blue")
        found = live(server, revision="canary")
    assert refused.value.hint == "there is canary, default"
    assert levels(found) == {}


def test_each_of_two_meshes_is_judged_alone_by_its_name_and_none_by_a_wrong_one() -> None:
    with serve(CASES["healthy-two-meshes"].mesh) as server:
        one, two = live(server, istio_namespace="istio-system"), live(server, istio_namespace="istio-two")
        for wrong in ("istio-tow", "bank"):
            with pytest.raises(ToolError, match=f"no control plane is in namespace {wrong}") as refused:
                live(server, istio_namespace=wrong)
            assert refused.value.hint == "there is one in istio-system, istio-two"
    assert (levels(one), levels(two)) == ({}, {})
    assert {row["place"] for row in one.rows}.isdisjoint(row["place"] for row in two.rows)


def test_a_namespace_without_its_copy_is_called_out_when_it_is_asked_for() -> None:
    with serve(replace(HEALTHY, namespaces=(Namespace("bank"), Namespace("bare", publishes=())))) as server:
        assert levels(live(server, namespace="bare")) == {"copies-agree": "warning"}
        assert levels(live(server, namespace="bnak")) == dict.fromkeys(("copies-agree", "ca-loaded"), "unknown")
        assert levels(live(server, namespace="bank")) == {}


def test_a_revision_is_given_the_ca_that_it_has_loaded_and_its_rivals_are_named() -> None:
    with serve(CASES["cacerts-of-one-restarted-revision"].mesh) as server:
        old, new = live(server, revision="default"), live(server, revision="canary")
    assert levels(old)["instances-agree"] == levels(new)["instances-agree"] == "critical"
    assert "self-signed CA in Secret istio-system/istio-ca-secret" in old.remarks[0]
    assert "plugged-in CA in Secret istio-system/cacerts" in new.remarks[0]


def test_a_secret_of_another_key_is_no_reason_to_restart() -> None:
    with serve(CASES["cacerts-deleted-beside-a-leftover"].mesh) as server:
        (finding,) = [finding for finding in live(server).findings if finding.check.id == "ca-loaded"]
    assert finding.hints[0].startswith("do NOT restart the control plane")


def test_a_name_of_the_copies_that_comes_from_elsewhere_is_unknown() -> None:
    source = {"configMapKeyRef": {"name": "x", "key": "y"}}
    plane = replace(HEALTHY.control_planes[0], env={"PILOT_CA_CERT_CONFIGMAP": source})
    with serve(replace(HEALTHY, control_planes=(plane,))) as server:
        assert levels(live(server))["copies-agree"] == "unknown"


def test_a_recording_without_pods_does_not_answer_for_the_control_plane(tmp_path: Path) -> None:
    overdue = CASES["renewal-overdue"].mesh
    kept = [one for one in overdue.objects() if one["kind"] not in {"Pod", "Deployment", "ReplicaSet"}]
    path = tmp_path / "mesh.json"
    path.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": kept}))
    found = judged(Recording.read([str(path)], io.BytesIO()))
    assert {"renewal-done", "renewal-harmless", "ca-waits"} <= set(found.not_asked)


def test_a_setting_that_comes_from_elsewhere_is_unknown_and_not_the_default() -> None:
    plane = replace(HEALTHY.control_planes[0], env={"EXTERNAL_CA": {"configMapKeyRef": {"name": "x", "key": "y"}}})
    with serve(replace(HEALTHY, control_planes=(plane,))) as server:
        found = live(server)
    assert str(found.status) == "unknown"
    assert any("EXTERNAL_CA comes from elsewhere" in why for why in unseen(found))


@pytest.mark.parametrize("offset", [timedelta(minutes=5), timedelta(minutes=-5)])
def test_clocks_that_differ_are_called_out(offset: timedelta) -> None:
    with serve(HEALTHY, clock_offset=offset) as server:
        assert levels(live(server)) == {"clocks-agree": "warning"}


FAULTS: dict[str, Fault] = {
    "401": Answer(401),
    "410": Answer(410),
    "429": Answer(429, retry_after=0),
    "500": Answer(500),
    "503": Answer(503),
    "html": Answer(200, body="<html>please log in</html>", content_type="text/html"),
    "not-json": Answer(200, body="{"),
    "another-shape": Answer(200, body='{"kind":"List","items":[17]}'),
    "null": Answer(200, body="null"),
    "cut": Cut(),
    "reset": Reset(),
    "silence": Silence(),
}
# 403 is not a fault but an answer: the tests above have it.
PATHS = (
    "/api/v1/pods",
    "/api/v1/namespaces/istio-system/secrets/istio-ca-secret",
    "/api/v1/namespaces/istio-system/secrets/cacerts",
    "/api/v1/namespaces/istio-system/secrets/istiod-tls",
    "/api/v1/configmaps",
)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("fault", FAULTS)
def test_no_fault_at_any_request_ends_in_a_clean_verdict(fault: str, path: str) -> None:
    with serve(HEALTHY) as server:
        server.faults.add(FAULTS[fault], path=path)
        with suppress(ToolError):  # nothing can be said at all, and that is said
            assert str(live(server, request_timeout=0.4).status) == "unknown"
        assert [request.path for request in server.requests if request.path == path]

"""Whether mutual TLS is used at all: "it is not" is never said where it is, nor where nobody has looked."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from changed_meshes import HOME, edited
from meshes import citadel, istiod
from planned import live, recorded
from sandbox import ControlPlane, Edit, Mesh, Proxy
from sandbox.faults import Answer
from sandbox.server import serve

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from meshtrust.report import Report

NOT_USED = "mutual TLS is not used between workloads: none of their traffic can break"


def asked(report: Report) -> bool | None:
    used: bool | None = report.details["plan"]["mutual_tls"]
    assert any(NOT_USED in line for line in report.remarks) is (used is False)
    return used


def peers(namespace: str, mode: str, name: str = "default", **spec: Any) -> Edit:
    mtls = {"mtls": {"mode": mode}} if mode else {}
    return edited("PeerAuthentication", name, {"spec": {**mtls, **spec}}, namespace)


def rule(**spec: Any) -> Edit:
    return edited("DestinationRule", "default", {"spec": {"host": "*.local", **spec}}, "shop")


def tls(mode: str) -> dict[str, Any]:
    return {"tls": {"mode": mode}}


def ports(mode: str) -> dict[str, Any]:
    return {"portLevelSettings": [{"port": {"number": 9091}}, {"port": {"number": 15004}, **tls(mode)}]}


def policy(kind: str, namespace: str, *peers_of_it: Mapping[str, Any], **spec: Any) -> Edit:
    return edited(kind, "default", {"spec": {"peers": list(peers_of_it), **spec}}, namespace)


def configured(text: str, name: str = "istio") -> Edit:
    return edited("ConfigMap", name, {"data": {"mesh": text}})


OFF = peers(HOME, "DISABLE")
APP = {"matchLabels": {"app": "web"}}

ISTIOD: Mapping[str, tuple[tuple[Edit, ...], bool]] = {
    "by-itself": ((), True),
    "switched-off": ((OFF,), False),
    "switched-off-by-a-selector-of-everything": ((peers(HOME, "DISABLE", selector={}),), False),
    "switched-off-for-what-is-selected": ((peers(HOME, "DISABLE", selector=APP),), True),
    "switched-off-for-what-is-targeted": ((peers(HOME, "DISABLE", targetRefs=[{"kind": "Gateway"}]),), True),
    "switched-off-in-one-namespace": ((peers("bank", "DISABLE"),), True),
    "switched-off-on-one-port": ((peers(HOME, "", portLevelMtls={"8080": {"mode": "DISABLE"}}),), True),
    "two-policies-of-the-mesh-that-differ": ((OFF, peers(HOME, "STRICT", "older")), True),
    "a-policy-of-the-mesh-without-a-mode": ((OFF, peers(HOME, "", "older")), True),
    "switched-off-everywhere": ((OFF, peers("bank", "DISABLE"), peers("shop", "DISABLE", selector=APP)), False),
    "inherited": ((OFF, peers("bank", "UNSET"), peers("shop", "")), False),
    "on-again-in-one-namespace": ((OFF, peers("bank", "STRICT")), True),
    "half-on-again-in-one-namespace": ((OFF, peers("bank", "PERMISSIVE")), True),
    "on-again-for-a-workload": ((OFF, peers("bank", "STRICT", selector=APP)), True),
    "on-again-for-a-workload-at-home": ((OFF, peers(HOME, "STRICT", "gate", selector=APP)), True),
    "on-again-on-one-port": (
        (OFF, peers("bank", "UNSET", selector=APP, portLevelMtls={"80": {"mode": "STRICT"}})),
        True,
    ),
    "inherited-on-one-port": ((OFF, peers("bank", "", selector=APP, portLevelMtls={"80": {"mode": "UNSET"}})), False),
    "sent-by-a-rule": ((OFF, rule(trafficPolicy=tls("ISTIO_MUTUAL"))), True),
    "sent-by-a-rule-of-one-port": ((OFF, rule(trafficPolicy=ports("ISTIO_MUTUAL"))), True),
    "not-sent-by-a-rule": (
        (OFF, rule(trafficPolicy=tls("DISABLE") | ports("SIMPLE"), subsets=[{"name": "v1"}])),
        False,
    ),
    "switched-off-where-policies-of-the-mesh-stand": ((OFF, configured("rootNamespace: istio-system\n")), False),
    "switched-off-where-they-do-not-stand": ((OFF, configured("rootNamespace: istio-config\n")), True),
    "switched-off-where-they-do-not-stand-in-json": (
        (OFF, configured('{"a": 1, "rootNamespace": "istio-config"}')),
        True,
    ),
    "switched-off-at-home-and-where-they-stand": (
        (OFF, peers("istio-config", "DISABLE"), configured("rootNamespace: istio-config\n")),
        False,
    ),
    "no-root-namespace-named": ((OFF, configured('rootNamespace: ""\ntrustDomain: here\n')), False),
}
MTLS: Mapping[str, Any] = {"mtls": {}}
CITADEL: Mapping[str, tuple[tuple[Edit, ...], bool]] = {
    "by-itself": ((), False),
    "mesh-policy": ((policy("MeshPolicy", "", MTLS),), True),
    "mesh-policy-that-asks-nobody": ((policy("MeshPolicy", ""),), False),
    "half-on": ((policy("MeshPolicy", "", {"mtls": {"mode": "PERMISSIVE"}}),), True),
    "without-a-mode": ((policy("MeshPolicy", "", {"mtls": None}),), True),
    "policy": ((policy("Policy", "bank", MTLS),), True),
    "policy-of-a-target": ((policy("Policy", "bank", MTLS, targets=[{"name": "web"}]),), True),
    "policy-of-tokens": ((policy("Policy", "bank", {"jwt": {}}),), False),
    "policy-of-tokens-too": ((policy("Policy", "bank", {"jwt": {}}, MTLS),), True),
    "rule": ((rule(trafficPolicy=tls("ISTIO_MUTUAL")),), True),
    "rule-with-files": ((rule(trafficPolicy=tls("MUTUAL")),), True),
    "rule-of-one-port": ((rule(trafficPolicy=ports("ISTIO_MUTUAL")),), True),
    "rule-of-a-subset": ((rule(subsets=[{"name": "v1", "trafficPolicy": tls("ISTIO_MUTUAL")}]),), True),
    "rule-of-a-port-of-a-subset": (
        (rule(trafficPolicy=tls("DISABLE"), subsets=[{"name": "v1", "trafficPolicy": ports("MUTUAL")}]),),
        True,
    ),
    "rule-without-it": ((rule(trafficPolicy=tls("SIMPLE"), subsets=[{"trafficPolicy": ports("DISABLE")}]),), False),
    "for-all-at-once": ((configured("authPolicy: MUTUAL_TLS\n"),), True),
    "for-nobody-at-once": ((configured("authPolicy: NONE\n"),), False),
}
CASES = {f"istiod-{name}": (istiod(edits=edits), used) for name, (edits, used) in ISTIOD.items()} | {
    f"citadel-{name}": (citadel(edits=edits), used) for name, (edits, used) in CITADEL.items()
}


@pytest.mark.parametrize("name", CASES)
def test_whether_mutual_tls_is_used_at_all_is_said(name: str) -> None:
    mesh, used = CASES[name]
    with serve(mesh) as server:
        assert asked(live(server)) is used


@pytest.mark.parametrize("name", CASES)
def test_a_recording_never_says_that_it_is_not_used_where_a_kind_that_may_ask_is_missing(
    name: str, tmp_path: Path
) -> None:
    mesh, used = CASES[name]
    kinds = {"MeshPolicy", "Policy", "DestinationRule"} if mesh.era == "citadel" else {"DestinationRule"}
    whole = kinds <= {edit.kind for edit in mesh.edits}
    assert asked(recorded(mesh, tmp_path)) is (used or (False if whole else None))


@pytest.mark.parametrize(
    ("proxy", "used"),
    [
        (Proxy("web", "shop"), False),
        (Proxy("web", "shop", "gateway"), False),
        (Proxy("gate", "shop", "waypoint"), True),
        (Proxy("ztunnel", HOME, "ztunnel"), True),
    ],
    ids=["sidecar", "gateway", "waypoint", "ztunnel"],
)
def test_no_policy_switches_it_off_between_what_a_ztunnel_serves(proxy: Proxy, used: bool) -> None:
    with serve(istiod(edits=(OFF,), proxies=(proxy,))) as server:
        assert asked(live(server)) is used


def test_the_settings_of_every_revision_say_where_policies_of_the_mesh_stand() -> None:
    planes = (ControlPlane(), ControlPlane(revision="canary"))
    mesh = istiod(control_planes=planes, edits=(OFF, configured("rootNamespace: istio-config\n", "istio-canary")))
    with serve(mesh) as server:
        assert asked(live(server)) is True
        server.delete("ConfigMap", HOME, "istio-canary")
        assert asked(live(server)) is False


def test_control_plane_security_of_a_citadel_is_mutual_tls() -> None:
    with serve(citadel(version="1.1.7", control_plane_security=True)) as server:
        assert asked(live(server)) is True


UNASKED = rule(trafficPolicy=tls("SIMPLE"))
# Every kind that tells is served, and holds nothing that asks for it.
SILENT = istiod(edits=(OFF, UNASKED)), citadel(edits=(policy("MeshPolicy", ""), policy("Policy", "bank"), UNASKED))
BLIND = {
    "policies": (SILENT[0], "list", "peerauthentications"),
    "rules": (SILENT[0], "list", "destinationrules"),
    "settings": (SILENT[0], "get", "configmaps"),
    "pods": (SILENT[0], "list", "pods"),
    "mesh-policies": (SILENT[1], "list", "meshpolicies"),
    "policies-of-citadel": (SILENT[1], "list", "policies"),
    "rules-of-citadel": (SILENT[1], "list", "destinationrules"),
    "settings-of-citadel": (SILENT[1], "get", "configmaps"),
}


@pytest.mark.parametrize("mesh", SILENT, ids=["istiod", "citadel"])
def test_it_is_not_used_where_all_was_seen_and_nothing_asks_for_it(mesh: Mesh, tmp_path: Path) -> None:
    with serve(mesh) as server:
        assert asked(live(server)) is asked(recorded(mesh, tmp_path)) is False


@pytest.mark.parametrize("name", BLIND)
def test_what_may_not_be_seen_is_neither_used_nor_unused(name: str) -> None:
    mesh, verb, resource = BLIND[name]
    with serve(mesh) as server:
        server.forbid(verb, resource)
        assert asked(live(server)) is None


@pytest.mark.parametrize("path", ["*/peerauthentications", "*/destinationrules"])
def test_what_is_not_answered_is_neither_used_nor_unused(path: str) -> None:
    with serve(SILENT[0]) as server:
        server.faults.add(Answer(500), path=path)
        assert asked(live(server)) is None


BROKEN: Mapping[str, Edit] = {
    "a-mode-that-is-a-number": peers("bank", "", mtls={"mode": 3}),
    "ports-that-are-a-list": peers("bank", "UNSET", portLevelMtls=[{"mode": "STRICT"}]),
    "a-rule-that-is-a-text": edited("DestinationRule", "odd", {"spec": "ISTIO_MUTUAL"}, "bank"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_policy_that_cannot_be_read_may_ask_for_it(name: str) -> None:
    with serve(replace(SILENT[0], edits=(*SILENT[0].edits, BROKEN[name]))) as server:
        assert asked(live(server)) is None

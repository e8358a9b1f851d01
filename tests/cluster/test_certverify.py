"""What `kubectl istio-certverify` says of stored copies and of real Envoys, and that their handshakes agree with it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from cluster.mesh import ISTIOD, ROOT_CONFIGMAP, Mesh, eventually
from cluster.plugins import Answer, Plugin
from cluster.roots import ANOTHER, EXPIRED, EXTENDED, RENEWED, ROOT
from cluster.workloads import GATEWAY, HOME, WORKLOADS
from sandbox.issuing import ca_certificate, pem

if TYPE_CHECKING:
    from pathlib import Path

NAMES = {*(workload.name for workload in WORKLOADS), GATEWAY}


@pytest.fixture
def certverify(mesh: Mesh, tmp_path: Path) -> Plugin:
    return Plugin(mesh.ground, "istio_certverify", "", tmp_path)


def test_a_healthy_mesh_is_healthy_however_it_is_read(mesh: Mesh, certverify: Plugin) -> None:
    mesh.sign_with(ROOT)
    live = certverify("--record", str(certverify.folder / "mesh.yaml"))
    assert (live.code, live.levels, live.stderr) == (0, {}, "")
    assert set(_proxies(live)) == NAMES
    assert certverify("-f", str(certverify.folder / "mesh.yaml")).verdict == live.verdict
    assert certverify.of_bug_report().verdict == live.verdict
    assert certverify.of_dump("--stored").levels == {}
    _agree(mesh, live)


def test_a_stale_copy_is_caught_in_the_act(mesh: Mesh, certverify: Plugin) -> None:
    patch = {"data": {"root-cert.pem": pem([ca_certificate(EXPIRED, mesh.now)])}}
    with mesh.frozen():
        mesh.merge("bank", "configmap", ROOT_CONFIGMAP, patch)
        live = certverify("--stored")
    assert (live.code, live.levels) == (2, {"copies-agree": "critical"})
    assert live.places == {"copies-agree": {f"ConfigMap bank/{ROOT_CONFIGMAP} [root-cert.pem]"}}
    eventually(lambda: certverify("--stored").levels == {}, "istiod puts its copy right")


def test_a_proxy_that_has_not_moved_to_the_extended_root_is_a_warning_and_talks_to_all(
    mesh: Mesh, certverify: Plugin
) -> None:
    mesh.sign_with(ROOT)
    mesh.store_root(EXTENDED)
    mesh.restart(ISTIOD)
    mesh.settle(EXTENDED)
    mesh.restart("bank/ledger")
    live = certverify()
    assert (live.code, live.levels) == (1, {"root-held": "warning"})
    assert {name for name, level in _proxies(live).items() if level == "warning"} == NAMES - {"ledger"}
    _agree(mesh, live)


def test_after_the_renewal_of_an_old_root_by_a_new_istiod_it_names_who_refuses_whom(
    mesh: Mesh, certverify: Plugin
) -> None:
    mesh.sign_with(ROOT)
    mesh.store_root(RENEWED)
    mesh.restart(ISTIOD)
    mesh.settle(RENEWED)
    mesh.restart("bank/ledger")
    live = certverify()
    assert (live.code, live.levels["root-held"]) == (2, "critical")
    assert set(_proxies(live).values()) == {"critical"}
    _agree(mesh, live)
    mesh.restart(*mesh.deployments)
    moved = certverify()
    assert (moved.code, moved.levels) == (0, {})
    _agree(mesh, moved)


def test_proxies_of_another_key_are_critical_and_refuse_those_that_have_moved(mesh: Mesh, certverify: Plugin) -> None:
    mesh.sign_with(ROOT)
    mesh.store_root(ANOTHER)
    mesh.restart(ISTIOD)
    mesh.settle(ANOTHER)
    mesh.restart("bank/ledger")
    live = certverify("--record", str(certverify.folder / "mesh.yaml"))
    assert live.code == 2
    assert set(_proxies(live).values()) == {"critical"}
    assert certverify("-f", str(certverify.folder / "mesh.yaml")).verdict == live.verdict
    _agree(mesh, live)


def test_waiting_outlasts_the_moment_in_which_two_istiods_overwrite_each_other(mesh: Mesh, certverify: Plugin) -> None:
    mesh.sign_with(ROOT)
    mesh.store_root(EXTENDED)
    mesh.ground.kubectl("-n", HOME, "rollout", "restart", "deployment/istiod")
    mesh.ground.kubectl("-n", HOME, "rollout", "status", "deployment/istiod", "--timeout=90s")
    waited = certverify("--stored", "--wait", "--timeout", "2m")
    assert (waited.code, waited.levels) == (0, {})
    assert len(mesh.published()) == 1


def _proxies(answer: Answer) -> dict[str, str]:
    """The level of each proxy, by what it is a proxy of."""
    levels = {}
    for row in answer.report["rows"]:
        if row["kind"] == "live" and (found := re.search(r"/([a-z-]+?)-[0-9a-f]+-[0-9a-z]{5}\b", row["place"])):
            levels[found[1]] = row["level"]
    return levels


def _agree(mesh: Mesh, answer: Answer) -> None:
    """A handshake fails only where a proxy of the pair is critical, and a critical proxy is in one that fails."""
    critical = {name for name, level in _proxies(answer).items() if level == "critical"}
    failing = {pair for pair, succeeds in mesh.handshakes().items() if not succeeds}
    assert {pair for pair in failing if not critical & set(pair)} == set()
    assert critical <= {name for pair in failing for name in pair}

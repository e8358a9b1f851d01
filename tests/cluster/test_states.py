"""What the plugins say of a real mesh in many states, live and recorded; and its handshakes agree with them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import permutations
from typing import TYPE_CHECKING

import pytest

from cluster.agreeing import failing, held, proxies
from cluster.mesh import CACERTS, CANARY, ISTIOD, ROOT_CONFIGMAP, Mesh, eventually
from cluster.roots import EXPIRED, EXTENDED, INTERMEDIATE, OVERDUE, PLUGGED_IN, RENEWED, ROOT
from cluster.workloads import GATEWAY, HOME, OUTSIDE, WORKLOADS, Workload
from sandbox.issuing import ca_certificate, pem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cluster.plugins import Plugin

PROXIES = {*(workload.name for workload in WORKLOADS), GATEWAY}
MOVED = "ledger"
OTHERS = PROXIES - {MOVED}
# The pairs that fail where the ledger alone has moved to a root that the others do not take for theirs.
PARTED = {pair for pair in permutations(PROXIES, 2) if MOVED in pair and pair[1] != GATEWAY}
# The only one of the second revision, where no namespace decides.
SCOUT = Workload("scout", OUTSIDE, revision="canary")
STALE = f"ConfigMap bank/{ROOT_CONFIGMAP} [root-cert.pem]"


@pytest.fixture(autouse=True)
def _tidy(mesh: Mesh) -> Iterator[None]:
    """Whatever a test left half-way: no `cacerts` for the next one."""
    yield
    mesh.ground.kubectl("-n", HOME, "delete", "secret", CACERTS, "--ignore-not-found")


def test_a_fresh_mesh_is_healthy_live_and_recorded(mesh: Mesh, expiry: Plugin, certverify: Plugin) -> None:
    mesh.start_afresh()
    told = expiry()
    assert (told.code, told.levels, told.stderr) == (0, {}, "")
    assert {row["role"] for row in told.report["rows"]} == {"signs", "copy"}
    assert told.signing["made_by"] == "istiod 1.29 or newer"
    assert told.report["counts"]["unseen"] == 0
    holding = held(mesh, certverify)
    assert (holding.code, holding.levels) == (0, {})
    assert proxies(holding) == dict.fromkeys(PROXIES, "ok")
    assert failing(mesh) == set()

    assert expiry.of_dump().verdict == told.verdict
    reported = expiry.of_bug_report()
    assert reported.verdict["rows"] == told.verdict["rows"]
    assert reported.levels == {"key-hidden": "warning"}  # istiod's debug/krtz, which istioctl packs, has the CA's key


def test_a_stale_copy_is_caught_in_the_act(mesh: Mesh, expiry: Plugin, certverify: Plugin) -> None:
    patch = {"data": {"root-cert.pem": pem([ca_certificate(EXPIRED, mesh.now)])}}
    with mesh.frozen():
        mesh.merge("bank", "configmap", ROOT_CONFIGMAP, patch)
        told, stored = expiry(), certverify("--stored")
        recorded = expiry.of_dump()
    for answer in (told, stored):
        assert (answer.code, answer.levels) == (2, {"copies-agree": "critical"})
        assert answer.places == {"copies-agree": {STALE}}
    assert recorded.verdict == told.verdict
    eventually(lambda: expiry().levels == {}, "istiod puts its copy right")


def test_an_extended_root_harms_nobody_and_who_has_not_moved_is_told(
    mesh: Mesh, expiry: Plugin, certverify: Plugin
) -> None:
    mesh.sign_with(ROOT)
    mesh.store_root(EXTENDED)
    waits = expiry()
    assert (waits.code, waits.levels) == (1, {"ca-loaded": "warning"})
    assert expiry.of_dump().verdict == waits.verdict
    mesh.restart(ISTIOD)
    mesh.settle(EXTENDED)
    mesh.restart("bank/ledger")
    assert expiry().levels == {}
    holding = held(mesh, certverify)
    assert (holding.code, holding.levels) == (1, {"root-held": "warning"})
    assert proxies(holding) == {MOVED: "ok", **dict.fromkeys(OTHERS, "warning")}
    assert failing(mesh) == set()


def test_a_root_renewed_with_another_key_identifier_parts_those_that_have_moved_from_those_that_have_not(
    mesh: Mesh, expiry: Plugin, certverify: Plugin
) -> None:
    mesh.sign_with(ROOT)
    mesh.store_root(RENEWED)
    assert expiry().levels == {"ca-loaded": "critical"}
    mesh.restart(ISTIOD)
    mesh.settle(RENEWED)
    mesh.restart("bank/ledger")
    assert expiry().levels == {}
    holding = held(mesh, certverify)
    assert (holding.code, holding.levels["root-held"]) == (2, "critical")
    assert proxies(holding) == {MOVED: "ok", **dict.fromkeys(OTHERS, "critical")}
    assert failing(mesh) == PARTED


def test_a_cacerts_that_waits_is_told_before_it_takes_over_and_judged_when_it_has(
    mesh: Mesh, expiry: Plugin, certverify: Plugin
) -> None:
    mesh.sign_with(ROOT)
    mesh.plug_in(INTERMEDIATE)
    waits = expiry()
    assert (waits.code, waits.levels) == (2, {"ca-waits": "critical"})
    assert expiry.of_dump().verdict == waits.verdict
    assert certverify("--stored").levels["ca-waits"] == "critical"
    mesh.restart(ISTIOD)
    mesh.settle(PLUGGED_IN)
    loaded = expiry()
    assert (loaded.code, loaded.levels) == (0, {})
    assert {row["role"] for row in loaded.report["rows"]} == {"signs", "root", "copy", "unused"}
    assert expiry.of_dump().verdict == loaded.verdict
    mesh.restart("bank/ledger")
    holding = held(mesh, certverify)
    assert holding.code == 2
    assert proxies(holding) == {MOVED: "ok", **dict.fromkeys(OTHERS, "critical")}
    assert failing(mesh) == PARTED
    mesh.restart(*mesh.deployments)
    assert held(mesh, certverify).levels == {}
    assert failing(mesh) == set()


def test_a_cacerts_that_istiod_made_is_self_signed(mesh: Mesh, expiry: Plugin, certverify: Plugin) -> None:
    mesh.generate_cacerts()
    eventually(lambda: expiry().levels == {}, "all copies hold the new root")
    told = expiry()
    assert told.signing["place"] == f"Secret {HOME}/{CACERTS} [ca-cert.pem]"
    assert told.signing["made_by"] == "istiod 1.29 or newer"
    assert expiry.of_dump().verdict == told.verdict
    mesh.restart("bank/ledger")
    holding = held(mesh, certverify)
    assert (holding.code, holding.levels["root-held"]) == (2, "critical")
    assert proxies(holding) == {MOVED: "ok", **dict.fromkeys(OTHERS, "critical")}
    mesh.restart(*mesh.deployments)
    assert held(mesh, certverify).levels == {}
    mesh.stop_generating_cacerts()


def test_of_two_revisions_the_one_that_was_not_restarted_still_publishes_and_signs_with_the_old_root(
    mesh: Mesh, expiry: Plugin, certverify: Plugin
) -> None:
    mesh.sign_with(ROOT)
    with mesh.canary(), mesh.added(SCOUT):
        assert expiry().levels == {}
        mesh.store_root(EXTENDED)
        mesh.restart(CANARY)
        assert mesh.publisher() == "default"
        told = expiry()
        assert (told.code, told.levels) == (1, {"ca-loaded": "warning"})
        assert expiry.of_dump().verdict == told.verdict
        mesh.restart(SCOUT.deployment, "bank/ledger")
        holding = held(mesh, certverify)
        assert (holding.code, holding.levels) == (
            1,
            dict.fromkeys(("ca-loaded", "webhooks-agree", "root-held"), "warning"),
        )
        assert proxies(holding) == {SCOUT.name: "warning", **dict.fromkeys(PROXIES, "ok")}
        assert all("-canary" in place for place in holding.places["webhooks-agree"])
        mesh.restart(ISTIOD)
        eventually(lambda: expiry().levels == {}, "both have loaded it")


def test_an_expired_root_is_told_while_istiod_does_not_get_ready(
    mesh: Mesh, expiry: Plugin, certverify: Plugin
) -> None:
    mesh.sign_with(ROOT)
    mesh.scale_istiod(0)
    mesh.store_root(OVERDUE)
    mesh.scale_istiod(1)
    eventually(lambda: mesh.istiod_state() == ("Running", False), "istiod runs and is not ready")
    told = expiry()
    assert (told.code, told.levels["signer-valid"]) == (2, "critical")
    assert expiry.of_dump().verdict == told.verdict
    holding = certverify("--record", str(certverify.folder / "mesh.yaml"))
    assert (holding.code, holding.levels) == (1, {"ca-loaded": "warning"})
    assert proxies(holding) == dict.fromkeys(PROXIES, "ok")
    assert failing(mesh) == set()
    assert certverify("-f", str(certverify.folder / "mesh.yaml")).verdict == holding.verdict
    mesh.store_root(ROOT)
    eventually(lambda: mesh.istiod_state() == ("Running", True), "istiod takes another root without a restart")
    mesh.settle(ROOT)
    assert expiry().levels == {}
    assert held(mesh, certverify).levels == {}


def test_waiting_outlasts_the_moment_in_which_two_istiods_overwrite_each_other(mesh: Mesh, certverify: Plugin) -> None:
    mesh.sign_with(ROOT)
    mesh.store_root(EXTENDED)
    with ThreadPoolExecutor(1) as beside:
        waiting = beside.submit(certverify, "--stored", "--wait", "--timeout", "2m")
        mesh.restart(ISTIOD)
        waited = waiting.result()
    assert (waited.code, waited.levels) == (0, {})
    assert len(mesh.published()) == 1

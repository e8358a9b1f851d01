"""What `kubectl istio-root expiry` says of a real mesh in many states, and whether its pods still talk."""

from __future__ import annotations

from itertools import permutations
from typing import TYPE_CHECKING

import pytest

from cluster.mesh import CA_SECRET, CACERTS, CANARY, ISTIOD, ROOT_CONFIGMAP, Mesh, eventually
from cluster.roots import EXPIRED, EXTENDED, INTERMEDIATE, PLUGGED_IN, ROOT
from cluster.workloads import GATEWAY, HOME
from sandbox.issuing import ca_certificate, pem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cluster.plugins import Plugin

# Where the ledger alone has moved to another root.
PARTED = {
    pair for pair in permutations(("web", "cart", "ledger", GATEWAY), 2) if "ledger" in pair and pair[1] != GATEWAY
}


def test_a_fresh_mesh_is_healthy_live_and_recorded(mesh: Mesh, expiry: Plugin) -> None:
    mesh.start_afresh()
    live = expiry()
    assert (live.code, live.levels, live.stderr) == (0, {}, "")
    assert {row["role"] for row in live.report["rows"]} == {"signs", "copy"}
    assert live.report["rows"][0]["made_by"] == "istiod 1.29 or newer"
    assert live.report["counts"]["unseen"] == 0
    assert expiry.of_dump().verdict == live.verdict
    reported = expiry.of_bug_report()
    assert reported.verdict["rows"] == live.verdict["rows"]
    assert reported.levels == {"key-hidden": "warning"}  # istiod's debug/krtz, which istioctl packs, has the CA's key
    assert set(mesh.handshakes().values()) == {True}


def test_a_stale_copy_is_caught_in_the_act(mesh: Mesh, expiry: Plugin) -> None:
    patch = {"data": {"root-cert.pem": pem([ca_certificate(EXPIRED, mesh.now)])}}
    with mesh.frozen():
        mesh.merge("bank", "configmap", ROOT_CONFIGMAP, patch)
        live = expiry()
        assert (live.code, live.levels) == (2, {"copies-agree": "critical"})
        assert live.places == {"copies-agree": {f"ConfigMap bank/{ROOT_CONFIGMAP} [root-cert.pem]"}}
        assert expiry.of_dump().verdict == live.verdict
    eventually(lambda: expiry().levels == {}, "istiod puts its copy right")


def test_an_extended_root_is_not_loaded_before_istiod_restarts_and_harms_nobody(mesh: Mesh, expiry: Plugin) -> None:
    mesh.sign_with(ROOT)
    assert expiry().levels == {}
    mesh.store_root(EXTENDED)
    waits = expiry()
    assert (waits.code, waits.levels) == (1, {"ca-loaded": "warning"})
    assert expiry.of_dump().verdict == waits.verdict
    mesh.restart(ISTIOD)
    mesh.settle(EXTENDED)
    assert expiry().levels == {}
    mesh.restart("bank/ledger")
    assert set(mesh.handshakes().values()) == {True}


def test_a_cacerts_that_waits_is_told_before_it_takes_over_and_judged_when_it_has(mesh: Mesh, expiry: Plugin) -> None:
    mesh.sign_with(ROOT)
    mesh.plug_in(INTERMEDIATE)
    waits = expiry()
    assert (waits.code, waits.levels) == (2, {"ca-waits": "critical"})
    assert expiry.of_dump().verdict == waits.verdict
    mesh.restart(ISTIOD)
    mesh.settle(PLUGGED_IN)
    loaded = expiry()
    assert (loaded.code, loaded.levels) == (0, {})
    assert {row["role"] for row in loaded.report["rows"]} == {"signs", "root", "copy", "unused"}
    assert expiry.of_dump().verdict == loaded.verdict
    mesh.restart("bank/ledger")
    assert {pair for pair, succeeds in mesh.handshakes().items() if not succeeds} == PARTED
    mesh.restart(*mesh.deployments)
    assert set(mesh.handshakes().values()) == {True}


def test_a_cacerts_that_istiod_made_is_self_signed(mesh: Mesh, expiry: Plugin) -> None:
    mesh.generate_cacerts()
    eventually(lambda: expiry().levels == {}, "all copies hold the new root")
    live = expiry()
    signing = next(row for row in live.report["rows"] if row["role"] == "signs")
    assert signing["place"] == f"Secret {HOME}/{CACERTS} [ca-cert.pem]"
    assert signing["made_by"] == "istiod 1.29 or newer"
    assert expiry.of_dump().verdict == live.verdict
    mesh.stop_generating_cacerts()


def test_of_two_revisions_the_one_that_was_not_restarted_still_publishes_the_old_root(
    mesh: Mesh, expiry: Plugin
) -> None:
    mesh.sign_with(ROOT)
    mesh.install_canary()
    assert expiry().levels == {}
    mesh.store_root(EXTENDED)
    mesh.restart(CANARY)
    assert mesh.publisher() == "default"
    live = expiry()
    assert (live.code, live.levels) == (1, {"ca-loaded": "warning"})
    assert expiry.of_dump().verdict == live.verdict
    mesh.restart(ISTIOD)
    eventually(lambda: expiry().levels == {}, "both have loaded it")
    mesh.remove_canary()


def test_an_expired_root_is_told_while_istiod_does_not_get_ready(mesh: Mesh, expiry: Plugin) -> None:
    mesh.scale_istiod(0)
    mesh.store_root(EXPIRED)
    mesh.scale_istiod(1)
    eventually(lambda: mesh.istiod_state() == ("Running", False), "istiod runs and is not ready")
    live = expiry()
    assert live.code == 2
    assert live.levels["signer-valid"] == "critical"
    assert expiry.of_dump().verdict == live.verdict
    mesh.store_root(ROOT)
    eventually(lambda: mesh.istiod_state() == ("Running", True), "istiod takes another root without a restart")
    mesh.settle(ROOT)
    assert expiry().levels == {}
    mesh.restart(*mesh.deployments)


@pytest.fixture(autouse=True)
def _tidy(mesh: Mesh) -> Iterator[None]:
    """Whatever a test left half-way, the next one begins with the Secrets it makes itself."""
    yield
    mesh.ground.kubectl("-n", HOME, "delete", "secret", CACERTS, "--ignore-not-found")
    assert CA_SECRET in mesh.secrets()

"""istiod's own renewal of a root, under traffic: what `renewal-harmless` says of it, and how it is healed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cluster.mesh import Mesh, eventually
from cluster.roots import DUE, DUE_WITHOUT_IDENTIFIER
from cluster.traffic import traffic
from cluster.workloads import WORKLOADS, Workload

if TYPE_CHECKING:
    from cluster.plugins import Plugin
    from sandbox.issuing import Ca

# Its leaf lives for a minute: it takes a new root along within half of one. All others stay with what they have.
SWIFT = Workload("swift", "bank", leaf="1m")
STEADY = {workload.name for workload in WORKLOADS}


def test_a_renewal_with_another_key_identifier_refuses_who_has_moved_until_it_is_dropped(
    mesh: Mesh, expiry: Plugin, certverify: Plugin, transition: Plugin
) -> None:
    mesh.sign_with(DUE)
    assert expiry().levels["renewal-harmless"] == "warning"
    with mesh.added(SWIFT), traffic(mesh, SWIFT, *WORKLOADS) as seen:
        seen.go_on()
        assert seen.failing == set()
        with mesh.renewing():
            _renewed(mesh, DUE)
            eventually(lambda: len(seen.failing) == 2 * len(STEADY), "the swift one refuses all, and all refuse it")
            mesh.agent(SWIFT, "POST", "logging?connection=debug")
            seen.go_on()
        assert certverify().levels["root-held"] == "critical"
        log = mesh.ground.kubectl("-n", SWIFT.namespace, "logs", f"deployment/{SWIFT.name}", "-c", "istio-proxy")
        assert "CERTIFICATE_VERIFY_FAILED" in log
        healed = transition("--apply", "--yes", "--timeout", "5m", "--key-identifier", "drop")
        assert (healed.code, healed.levels) == (0, {"proxies-unharmed": "warning"})
        eventually(lambda: _has_moved(certverify), "the swift one has moved to the root without an identifier")
        refused = len(seen.failed)
        seen.go_on()
        assert seen.failed[refused:] == ()
    assert seen.failing == {pair for name in STEADY for pair in (("swift", name), (name, "swift"))}


def test_a_root_without_a_key_identifier_is_renewed_and_nobody_is_refused(
    mesh: Mesh, expiry: Plugin, certverify: Plugin
) -> None:
    mesh.sign_with(DUE_WITHOUT_IDENTIFIER)
    assert "renewal-harmless" not in expiry().levels
    with mesh.added(SWIFT), traffic(mesh, SWIFT, *WORKLOADS) as seen:
        with mesh.renewing():
            _renewed(mesh, DUE_WITHOUT_IDENTIFIER)
            eventually(lambda: _has_moved(certverify), "the swift one has moved")
            seen.go_on()
        held = certverify()
        assert (held.code, held.levels) == (1, {"root-held": "warning"})
    assert seen.failing == set(), seen.failed[:5]


def _renewed(mesh: Mesh, ca: Ca) -> None:
    """Wait until istiod has made another root of the same key, and has published it."""
    old = mesh.fingerprint(ca)
    eventually(lambda: mesh.stored_root() != old, "istiod renews its root")
    mesh.settle()


def _has_moved(certverify: Plugin) -> bool:
    return "ok" in {row["level"] for row in certverify("deploy/swift.bank").report["rows"]}

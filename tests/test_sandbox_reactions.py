"""A lively istiod: what it loads, when, and what it writes of it, as it was seen on real meshes."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

import pytest

from asking import kubectl
from reacting import (
    HOME,
    LIVELY,
    ROOT,
    extended,
    injection,
    key_identifiers,
    mesh,
    one,
    patched,
    pod,
    pods,
    published,
    restart,
    stored,
    versions,
    write_root,
)
from sandbox import Authority, Ca, ControlPlane, Lively, serve
from sandbox.issuing import ca_certificate, pem, private_key

DAY = timedelta(days=1)
INTERVAL = "CITADEL_SELF_SIGNED_ROOT_CERT_CHECK_INTERVAL"
JITTER = "CITADEL_ENABLE_JITTER_FOR_ROOT_CERT_ROTATOR"
LOCK = "istio-namespace-controller-election"
TWO = (ControlPlane(revision="default"), ControlPlane(revision="canary"))


def test_a_new_root_is_loaded_and_published_at_the_restart() -> None:
    with serve(mesh(), lively=LIVELY) as server:
        new = extended(server.mesh)
        write_root(server, new)
        restart(server, "deploy/istiod")
        server.until(lambda: published(server) == [new])
        server.until(lambda: len(pods(server, "istiod")) == 1 and injection(server) == [new])


def test_ca_bundles_flap_while_an_old_istiod_lives_beside_the_new_one() -> None:
    with serve(mesh(), lively=Lively(pace=0.05)) as server:
        old, new = ca_certificate(ROOT, server.mesh.now), extended(server.mesh)
        write_root(server, new)
        restart(server, "deploy/istiod")
        server.until(lambda: len(pods(server, "istiod")) == 1 and injection(server) == [new])
        seen = [patched(body) for body in server.history("MutatingWebhookConfiguration", "", "istio-sidecar-injector")]
    assert seen[:3] == [[old], [new], [old]]
    assert seen[-1] == [new]


def test_copies_follow_when_the_new_istiod_has_the_lock() -> None:
    with serve(mesh(), lively=LIVELY) as server:
        old = pod(server, "istiod")
        write_root(server, extended(server.mesh))
        restart(server, "deploy/istiod")
        server.until(lambda: published(server) == [extended(server.mesh)])
        lock = server.history("ConfigMap", HOME, LOCK)
        copy = server.history("ConfigMap", "bank", "istio-ca-root-cert")
        holders = [
            json.loads(body["metadata"]["annotations"]["control-plane.alpha.kubernetes.io/leader"])["holderIdentity"]
            for body in lock
            if body is not None
        ]
        (new,) = set(pods(server, "istiod")) - {old}
    assert holders == [old, "", new]
    assert versions(copy)[-1] > versions(lock)[-1]


def test_of_two_revisions_only_the_holder_of_the_lock_publishes() -> None:
    with serve(mesh(control_planes=TWO), lively=LIVELY) as server:
        old, new = ca_certificate(ROOT, server.mesh.now), extended(server.mesh)
        write_root(server, new)
        (holding,) = pods(server, "istiod")
        restart(server, "deploy/istiod-canary")
        server.until(lambda: len(pods(server, "istiod-canary")) == 1)
        server.until(lambda: injection(server, "istio-sidecar-injector-canary") == [new])
        assert (published(server), injection(server)) == ([old], [old])
        restart(server, "deploy/istiod")
        server.until(lambda: published(server) == [new])
        server.until(lambda: injection(server) == [new])
        assert holding not in pods(server, "istiod")


def test_a_deleted_copy_is_put_back_by_the_holder() -> None:
    with serve(mesh(), lively=LIVELY) as server:
        server.delete("ConfigMap", "bank", "istio-ca-root-cert")
        server.until(lambda: server.history("ConfigMap", "bank", "istio-ca-root-cert")[-1] is not None)
        assert published(server) == [ca_certificate(ROOT, server.mesh.now)]


def test_a_trust_bundle_is_published_where_there_is_one() -> None:
    with serve(mesh(trust_bundle=(ROOT,)), lively=LIVELY) as server:
        new = extended(server.mesh)
        write_root(server, new)
        server.tick()
        server.until(lambda: server.objects("ClusterTrustBundle")[0]["spec"]["trustBundle"] == pem([new]))


def test_the_rotator_loads_a_changed_secret_without_a_restart() -> None:
    often = ControlPlane(env={INTERVAL: "2s", JITTER: "false"})
    with serve(mesh(control_planes=(often,)), lively=LIVELY) as server:
        (before,) = pods(server, "istiod")
        write_root(server, extended(server.mesh))
        server.until(lambda: published(server) == injection(server) == [extended(server.mesh)])
        assert list(pods(server, "istiod")) == [before]


def test_a_rotator_that_is_switched_off_loads_nothing() -> None:
    off, on = (ControlPlane(revision=name, env={INTERVAL: value}) for name, value in (("off", "0"), ("on", "1h")))
    with serve(mesh(control_planes=(off, on)), lively=LIVELY) as server:
        old, new = ca_certificate(ROOT, server.mesh.now), extended(server.mesh)
        write_root(server, new)
        server.tick()
        server.until(lambda: injection(server, "istio-sidecar-injector-on") == [new])
        assert injection(server, "istio-sidecar-injector-off") == [old]


@pytest.mark.parametrize(("version", "identifier"), [("1.29.2", "sha256"), ("1.28.5", "sha1"), ("1.7.8", "none")])
def test_a_root_in_grace_is_renewed_as_its_istiod_makes_roots(version: str, identifier: str) -> None:
    short = replace(ROOT, identifier="sha1", starts=-300 * DAY, ends=30 * DAY)
    described = mesh(version=version, ca=Authority(root=short))
    with serve(described, lively=replace(LIVELY, renews=True)) as server:
        server.tick()
        (new,) = stored(server, HOME, "istio-ca-secret", "ca-cert.pem")
        server.until(lambda: published(server) == [new])
    alike = ca_certificate(replace(short, identifier=identifier), described.now)  # type: ignore[arg-type]
    old = ca_certificate(short, described.now)
    assert (new.public_key(), new.subject) == (old.public_key(), old.subject)
    assert key_identifiers(new, new)[1] == key_identifiers(alike, alike)[1]
    assert new.not_valid_after_utc > old.not_valid_after_utc + 9 * 365 * DAY


def test_a_root_in_grace_stays_unless_the_sandbox_renews() -> None:
    short = replace(ROOT, starts=-300 * DAY, ends=30 * DAY)
    with serve(mesh(ca=Authority(root=short)), lively=LIVELY) as server:
        server.tick()
        assert len(server.history("Secret", HOME, "istio-ca-secret")) == 1


def test_an_istiod_that_finds_no_secret_makes_a_new_key() -> None:
    with serve(mesh(), lively=LIVELY) as server:
        server.delete("Secret", HOME, "istio-ca-secret")
        restart(server, "deploy/istiod")
        (made,) = stored(server, HOME, "istio-ca-secret", "ca-cert.pem")
        assert made.public_key() != private_key("root").public_key()
        server.until(lambda: published(server) == [made])


def test_a_key_that_does_not_match_keeps_the_old_root_in_memory() -> None:
    with serve(mesh(), lively=LIVELY) as server:
        (old,) = pods(server, "istiod")
        write_root(server, extended(server.mesh), key="strange")
        server.tick()
        kubectl(server, "rollout", "restart", "deploy/istiod", "-n", HOME)
        server.until(lambda: len(pods(server, "istiod")) == 2)
        server.until(lambda: one(server, "Deployment", HOME, "istiod")["status"].get("unavailableReplicas") == 1)
        assert injection(server) == [ca_certificate(ROOT, server.mesh.now)]
        write_root(server, extended(server.mesh), key="root")
        server.until(lambda: old not in pods(server, "istiod"))


def test_an_istiod_of_an_expired_root_heals_without_a_restart() -> None:
    expired = replace(ROOT, ends=-2 * DAY)
    described = mesh(ca=Authority(root=expired), control_planes=(ControlPlane(ready=False),))
    with serve(described, lively=LIVELY) as server:
        (before,) = pods(server, "istiod").values()
        status = before["status"]
        assert (status["phase"], status["containerStatuses"][0]["ready"]) == ("Running", False)
        write_root(server, extended(described))
        done = kubectl(server, "rollout", "status", "deploy/istiod", "-n", HOME)
        assert "successfully rolled out" in done.stdout
        (after,) = pods(server, "istiod").values()
        assert after["metadata"]["name"] == before["metadata"]["name"]
        assert after["status"]["containerStatuses"][0]["restartCount"] == 0
        server.until(lambda: published(server) == injection(server) == [extended(described)])


# The choice of the CA


def test_a_cacerts_that_waits_takes_over_at_the_restart() -> None:
    plugged = Authority(secret="cacerts", root=Ca(key="corporate", subject="O=corp"), chain=(Ca(key="between"),))
    with serve(mesh(beside=(plugged,)), lively=LIVELY) as server:
        corporate = ca_certificate(plugged.root, server.mesh.now)
        server.tick()
        assert published(server) == [ca_certificate(ROOT, server.mesh.now)]
        restart(server, "deploy/istiod")
        server.until(lambda: published(server) == [corporate])


def test_an_incomplete_cacerts_ends_an_istiod_again_and_again() -> None:
    partial = Authority(secret="cacerts", root=Ca(key="corporate"), lacks=("cert-chain.pem",))
    with serve(mesh(beside=(partial,)), lively=LIVELY) as server:
        kubectl(server, "rollout", "restart", "deploy/istiod", "-n", HOME)

        def looping() -> bool:
            states = [body["status"]["containerStatuses"][0] for body in pods(server, "istiod").values()]
            return any(one["state"].get("waiting", {}).get("reason") == "CrashLoopBackOff" for one in states)

        server.until(looping)
        assert "CrashLoopBackOff" in kubectl(server, "get", "pods", "-n", HOME).stdout
        server.delete("Secret", HOME, "cacerts")
        done = kubectl(server, "rollout", "status", "deploy/istiod", "-n", HOME)
        assert "successfully rolled out" in done.stdout


def test_a_generated_cacerts_is_looked_after_where_istiod_is_told_so() -> None:
    generated = Authority(secret="cacerts", generated=True)
    told = ControlPlane(env={"USE_CACERTS_FOR_SELF_SIGNED_CA": "true"})
    with serve(mesh(ca=generated, control_planes=(told,)), lively=LIVELY) as server:
        old, new = ca_certificate(ROOT, server.mesh.now), extended(server.mesh)
        server.change("Secret", HOME, "cacerts", {"stringData": {"ca-cert.pem": pem([new])}})
        server.tick()
        server.until(lambda: published(server) == [new, old])  # the mounted root is trusted, too

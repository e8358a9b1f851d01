"""A lively sandbox of the istiod era: what happens when somebody writes, as it was seen on real meshes."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from asking import connected, kubectl
from reacting import (
    HOME,
    LIVELY,
    ROOT,
    extended,
    in_memory,
    injection,
    key_identifiers,
    mesh,
    of_node,
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
from sandbox import Authority, Ca, ControlPlane, Identity, Leaf, Lively, Namespace, Proxy, parse_mesh, serve
from sandbox.issuing import ca_certificate, pem, private_key

DAY = timedelta(days=1)
SOON = Leaf(issued=timedelta(hours=-12, minutes=6), ends=timedelta(hours=12))  # half of its life is over in 2 minutes
INTERVAL = "CITADEL_SELF_SIGNED_ROOT_CERT_CHECK_INTERVAL"
JITTER = "CITADEL_ENABLE_JITTER_FOR_ROOT_CERT_ROTATOR"
LOCK = "istio-namespace-controller-election"
TWO = (ControlPlane(revision="default"), ControlPlane(revision="canary"))


# Deployments


def test_a_restart_replaces_the_pod_by_one_that_starts_now() -> None:
    with serve(mesh(), lively=LIVELY) as server:
        old = pod(server, "istiod")
        before = datetime.now(UTC).replace(microsecond=0)
        restart(server, "deploy/istiod")
        server.until(lambda: old not in pods(server, "istiod"))
        (new,) = pods(server, "istiod").values()
    started = new["status"]["containerStatuses"][0]["state"]["running"]["startedAt"]
    assert before <= datetime.fromisoformat(started) <= datetime.now(UTC)
    assert "kubectl.kubernetes.io/restartedAt" in new["metadata"]["annotations"]


def test_the_clock_of_a_new_pod_is_the_servers() -> None:
    with serve(mesh(), clock_offset=2 * DAY, lively=LIVELY) as server:
        restart(server, "deploy/istiod")
        server.until(lambda: len(pods(server, "istiod")) == 1)
        (new,) = pods(server, "istiod").values()
    started = new["status"]["containerStatuses"][0]["state"]["running"]["startedAt"]
    assert datetime.fromisoformat(started) > datetime.now(UTC) + DAY


def test_a_rollout_counts_as_kubernetes_does() -> None:
    with serve(mesh(control_planes=(ControlPlane(replicas=2),)), lively=LIVELY) as server:
        restart(server, "deploy/istiod")
        told = [body for body in server.history("Deployment", HOME, "istiod") if body is not None]
    status = [body["status"] for body in told if body["status"]["observedGeneration"] == 2]
    assert max(one["replicas"] for one in status) == 4  # a surge of 100 %
    assert min(one["availableReplicas"] for one in status) == 2  # none goes before another is there
    last = {key: value for key, value in status[-1].items() if key != "conditions"}
    assert last == {
        "observedGeneration": 2,
        "replicas": 2,
        "updatedReplicas": 2,
        "readyReplicas": 2,
        "availableReplicas": 2,
    }


def test_a_pod_is_ending_before_it_is_gone() -> None:
    with serve(mesh(), lively=LIVELY) as server:
        old = pod(server, "istiod")
        restart(server, "deploy/istiod")
        server.until(lambda: old not in pods(server, "istiod"))
        history = server.history("Pod", HOME, old)
    assert history[-1] is None
    assert history[-2] is not None
    assert "deletionTimestamp" in history[-2]["metadata"]


def test_a_paused_deployment_is_not_rolled_out() -> None:
    with serve(mesh(), lively=LIVELY) as server:
        old = pod(server, "istiod")
        paused = json.dumps({"spec": {"paused": True}})
        kubectl(server, "patch", "deploy/istiod", "-n", HOME, "--type=merge", "-p", paused)
        template = {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": "now"}}}
        with connected(server) as ask:
            ask.patch(f"/apis/apps/v1/namespaces/{HOME}/deployments/istiod", {"spec": {"template": template}})
        server.until(lambda: one(server, "Deployment", HOME, "istiod")["status"]["observedGeneration"] == 3)
        assert list(pods(server, "istiod")) == [old]


def test_a_daemon_set_is_rolled_out_one_by_one() -> None:
    nodes = tuple(Proxy("ztunnel", HOME, "ztunnel", node=f"node{number}") for number in range(3))
    with serve(mesh(proxies=nodes), lively=LIVELY) as server:
        before = set(pods(server, "ztunnel"))
        restart(server, "ds/ztunnel")
        after = pods(server, "ztunnel")
        told = [body["status"] for body in server.history("DaemonSet", HOME, "ztunnel") if body is not None]
    assert len(after) == 3
    assert not before & set(after)
    assert {body["spec"]["nodeName"] for body in after.values()} == {"node0", "node1", "node2"}
    assert min(status["numberAvailable"] for status in told) == 2


def test_nothing_happens_by_itself_unless_it_is_asked_for() -> None:
    with serve(mesh()) as server:
        kubectl(server, "rollout", "restart", "deploy/istiod", "-n", HOME)
        assert one(server, "Deployment", HOME, "istiod")["status"]["observedGeneration"] == 1
        assert len(pods(server, "istiod")) == 1


def test_a_description_can_ask_for_it() -> None:
    described = parse_mesh("{namespaces: [bank], lively: {pace: 0.01, renews: true}}")
    assert described.lively == Lively(pace=0.01, renews=True)
    with serve(described) as server:
        restart(server, "deploy/istiod")


def test_a_reaction_that_fails_is_told_at_the_end() -> None:
    broken = {"metadata": {"generation": 2}, "spec": {"strategy": {"rollingUpdate": {"maxSurge": "many"}}}}
    with pytest.raises(ValueError, match="many"), serve(mesh(), lively=LIVELY) as server:  # noqa: PT012 - at its end
        server.change("Deployment", HOME, "istiod", broken)
        server.until(lambda: server.failure is not None)


# istiod


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


# Proxies


def test_an_envoy_takes_leaf_and_root_when_half_of_its_leaf_is_over() -> None:
    proxies = (Proxy("ledger", "bank", leaf=SOON), Proxy("late", "bank"))
    with serve(mesh(proxies=proxies), lively=LIVELY) as server:
        old, new = ca_certificate(ROOT, server.mesh.now), extended(server.mesh)
        write_root(server, new)
        server.tick()
        server.until(lambda: in_memory(server, "bank", pod(server, "ledger", "bank"))[1] == [new])
        leaf, _ = in_memory(server, "bank", pod(server, "ledger", "bank"))
        assert in_memory(server, "bank", pod(server, "late", "bank"))[1] == [old]
    leaf.verify_directly_issued_by(new)
    authority, subject = key_identifiers(leaf, new)
    assert authority == subject is not None


def test_a_leaf_of_a_root_without_an_identifier_names_none() -> None:
    with serve(mesh(proxies=(Proxy("ledger", "bank"),)), lively=LIVELY) as server:
        new = extended(server.mesh, identifier="none")
        write_root(server, new)
        server.tick()
        server.renew("bank", pod(server, "ledger", "bank"))
        server.until(lambda: in_memory(server, "bank", pod(server, "ledger", "bank"))[1] == [new])
        leaf, _ = in_memory(server, "bank", pod(server, "ledger", "bank"))
    assert key_identifiers(leaf, new) == (None, None)


def test_all_proxies_move_soon_where_leaves_are_short() -> None:
    proxies = (Proxy("ledger", "bank"), Proxy("gate", HOME, "gateway"), Proxy("native", "bank", "native"))
    with serve(mesh(proxies=proxies), lively=replace(LIVELY, leaves=0.00001)) as server:
        write_root(server, extended(server.mesh))
        server.tick()
        places = [("bank", "ledger"), (HOME, "gate"), ("bank", "native")]
        for namespace, name in places:
            found = pod(server, name, namespace)
            server.until(lambda place=(namespace, found): in_memory(server, *place)[1] == [extended(server.mesh)])


def test_a_new_pod_has_a_new_leaf_and_is_a_proxy_like_the_old_one() -> None:
    with serve(mesh(proxies=(Proxy("ledger", "bank", version="1.28.1"),)), lively=LIVELY) as server:
        write_root(server, extended(server.mesh))
        server.tick()
        restart(server, "deploy/ledger", "bank")
        server.until(lambda: len(pods(server, "ledger", "bank")) == 1)
        (new,) = pods(server, "ledger", "bank").values()
        assert [one["name"] for one in new["spec"]["containers"]] == ["app", "istio-proxy"]
        assert new["spec"]["containers"][1]["image"] == "docker.io/istio/proxyv2:1.28.1"
        assert in_memory(server, "bank", new["metadata"]["name"])[1] == [extended(server.mesh)]
        hanging = json.loads(server.admin(HOME, pod(server, "istiod"), "debug/syncz"))
        assert [one["proxy"] for one in hanging] == [f"{new['metadata']['name']}.bank"]


def test_a_leaf_that_was_overdue_from_the_beginning_stays() -> None:
    overdue = Proxy("stuck", "bank", leaf=Leaf(issued=timedelta(hours=-20), ends=timedelta(hours=4)))
    with serve(mesh(proxies=(overdue, Proxy("ledger", "bank", leaf=SOON))), lively=LIVELY) as server:
        write_root(server, extended(server.mesh))
        server.tick()
        server.until(lambda: in_memory(server, "bank", pod(server, "ledger", "bank"))[1] == [extended(server.mesh)])
        leaf, roots = in_memory(server, "bank", pod(server, "stuck", "bank"))
    assert roots == [ca_certificate(ROOT, server.mesh.now)]
    assert leaf.not_valid_before_utc < server.mesh.now - timedelta(hours=19)


def test_the_identities_of_a_ztunnel_are_renewed_each_for_itself() -> None:
    identities = (Identity("cart", "bank", leaf=SOON), Identity("till", "bank"))
    with serve(mesh(proxies=(Proxy("ztunnel", HOME, "ztunnel", identities=identities),)), lively=LIVELY) as server:
        old, new = [ca_certificate(ROOT, server.mesh.now)], [extended(server.mesh)]
        write_root(server, *new)
        server.tick()
        server.until(lambda: of_node(server, pod(server, "ztunnel")) == {"cart": new, "till": old})
        restart(server, "ds/ztunnel")
        server.until(lambda: of_node(server, pod(server, "ztunnel")) == {"cart": new, "till": new})


def test_a_proxy_without_an_istiod_keeps_what_it_has() -> None:
    expired = replace(ROOT, ends=-2 * DAY)
    described = mesh(
        ca=Authority(root=expired),
        control_planes=(ControlPlane(ready=False),),
        proxies=(Proxy("ledger", "bank"),),
        namespaces=(Namespace("bank"),),
    )
    with serve(described, lively=LIVELY) as server:
        server.renew("bank", pod(server, "ledger", "bank"))
        assert in_memory(server, "bank", pod(server, "ledger", "bank"))[1] == [ca_certificate(expired, described.now)]
        write_root(server, extended(described))
        server.until(lambda: in_memory(server, "bank", pod(server, "ledger", "bank"))[1] == [extended(described)])

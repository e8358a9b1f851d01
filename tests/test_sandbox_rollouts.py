"""A lively sandbox: how pods are replaced, told as Kubernetes tells it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from asking import connected, kubectl
from reacting import (
    HOME,
    LIVELY,
    mesh,
    one,
    pod,
    pods,
    restart,
)
from sandbox import ControlPlane, Lively, Proxy, parse_mesh, serve

DAY = timedelta(days=1)


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

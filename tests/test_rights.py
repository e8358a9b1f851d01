"""What a live cluster says before a write: which cluster it is, and what we may do there."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from meshtrust.cluster import Cluster, Connection
from meshtrust.errors import NotAllowed, Unreachable
from meshtrust.source import Right
from sandbox import Mesh
from sandbox.faults import Answer, Reset
from sandbox.server import Server, serve

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HOME = "istio-system"
PATCH_CA = Right("patch", "Secret", HOME, "istio-ca-secret")


@pytest.fixture(scope="module")
def running() -> Iterator[Server]:
    with serve(Mesh(now=datetime.now(UTC))) as server:
        yield server


@pytest.fixture
def server(running: Server) -> Iterator[Server]:
    yield running
    running.faults.clear()
    running.access.allow_all()


@pytest.fixture
def cluster(server: Server) -> Iterator[Cluster]:
    with Cluster(Connection(kubeconfig=str(server.kubeconfig), request_timeout=5)) as cluster:
        yield cluster


class TestRights:
    def test_each_is_judged_for_itself(self, server: Server, cluster: Cluster) -> None:
        server.forbid("patch", "secrets", namespace=HOME)
        server.forbid("create", "pods/portforward")
        server.forbid("list", "deployments", namespace="")
        asked = {
            PATCH_CA: False,
            Right("patch", "Secret", "bank"): True,
            Right("get", "Secret", HOME): True,
            Right("create", "Pod", HOME, subresource="portforward"): False,
            Right("create", "Pod", HOME): True,
            Right("list", "Deployment"): False,
            Right("list", "Deployment", HOME): True,
            Right("patch", "WorkloadSecret", HOME): False,
        }
        assert {right: cluster.may(right) for right in asked} == asked

    @pytest.mark.parametrize(
        ("right", "attributes"),
        [
            (
                PATCH_CA,
                {"verb": "patch", "resource": "secrets", "namespace": HOME, "name": "istio-ca-secret"},
            ),
            (Right("list", "Deployment"), {"verb": "list", "group": "apps", "resource": "deployments"}),
            (
                Right("get", "MutatingWebhookConfiguration", HOME, "x"),
                {
                    "verb": "get",
                    "group": "admissionregistration.k8s.io",
                    "resource": "mutatingwebhookconfigurations",
                    "name": "x",
                },
            ),
            (
                Right("create", "Pod", HOME, subresource="portforward"),
                {"verb": "create", "resource": "pods", "subresource": "portforward", "namespace": HOME},
            ),
        ],
        ids=str,
    )
    def test_it_is_asked_for_as_rbac_calls_it(
        self, server: Server, cluster: Cluster, right: Right, attributes: dict[str, str]
    ) -> None:
        cluster.may(right)
        sent = server.requests[-1]
        assert (sent.method, sent.path) == ("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews")
        assert json.loads(sent.body)["spec"] == {"resourceAttributes": attributes}

    @pytest.mark.parametrize(
        ("verdict", "allowed"),
        [
            ({"allowed": True, "evaluationError": 'role "gone" not found'}, True),
            ({"allowed": False, "evaluationError": 'role "gone" not found'}, False),
            ({"allowed": False}, False),
            ({"allowed": False, "denied": True, "reason": "no"}, False),
            ({"allowed": True, "denied": True}, False),
        ],
        ids=str,
    )
    def test_only_what_is_allowed_is(
        self, server: Server, cluster: Cluster, verdict: dict[str, Any], allowed: bool
    ) -> None:
        server.faults.add(Answer(201, body=json.dumps({"status": verdict})), method="POST")
        assert cluster.may(PATCH_CA) is allowed

    def test_a_question_that_is_forbidden_has_no_answer(self, server: Server, cluster: Cluster) -> None:
        server.forbid("create", "selfsubjectaccessreviews")
        with pytest.raises(NotAllowed) as refused:
            cluster.may(PATCH_CA)
        right = "create selfsubjectaccessreviews.authorization.k8s.io"
        assert refused.value.message == f'User "tester" cannot {right} at the cluster scope'
        assert refused.value.hint.endswith(f"kubectl auth can-i {right} -A")

    @pytest.mark.parametrize(
        "answer",
        [
            Answer(404),
            Answer(500),
            Answer(201, body="<html>", content_type="text/html"),
            Answer(201, body='{"status": {}}'),
            Answer(201, body='{"status": {"allowed": "yes"}}'),
        ],
        ids=str,
    )
    def test_no_verdict_is_not_a_no(self, server: Server, cluster: Cluster, answer: Answer) -> None:
        server.faults.add(answer, method="POST")
        with pytest.raises(Unreachable):
            cluster.may(PATCH_CA)

    def test_a_question_that_broke_off_is_asked_again(self, server: Server, cluster: Cluster) -> None:
        server.faults.add(Reset(), method="POST", times=1)
        assert cluster.may(PATCH_CA)


class TestDescribed:
    def test_a_context_and_where_it_leads(self, server: Server, cluster: Cluster) -> None:
        assert cluster.described == f'context "sandbox" ({server.url})'

    def test_the_server_of_an_option_without_its_password(self, server: Server) -> None:
        connection = Connection(
            kubeconfig=str(server.kubeconfig), server="https://me:geheim@10.0.0.1:6443/clusters/c-1/"
        )
        with Cluster(connection) as cluster:
            assert cluster.described == 'context "sandbox" (https://10.0.0.1:6443/clusters/c-1)'

    def test_what_has_no_name_is_its_server(self, tmp_path: Path) -> None:
        (tmp_path / "kubeconfig").write_text("kind: Config")
        connection = Connection(kubeconfig=str(tmp_path / "kubeconfig"), server="https://10.96.0.1")
        with Cluster(connection) as cluster:
            assert cluster.described == "https://10.96.0.1"

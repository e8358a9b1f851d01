"""The sandbox is true: real kubectl and the official client take its API server for one."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes import client

from asking import KUBECTLS, MESH, STRANGE, Asking, connected, kubectl, official
from sandbox import Authority, Ca, Edit, Server, serve

# Real kubectl


@pytest.mark.parametrize("command", KUBECTLS)
@pytest.mark.parametrize(
    ("args", "line"),
    [
        ("get secrets -A", "istio-system   istio-ca-secret                istio.io/ca-root     5      365d"),
        ("get ns", "bank           Active   365d"),
        (
            "get cm,deploy -A",
            "istio-system   deployment.apps/istiod                 1/1     1            1           365d",
        ),
        ("get cm,deploy -A", "shop           configmap/istio-ca-root-cert   1      365d"),
        ("get ds -n istio-system", "ztunnel   1         1         1       1            1           24h"),
        ("describe secret -n istio-system istio-ca-secret", "Type:  istio.io/ca-root"),
        (
            "describe deploy -n istio-system istiod",
            "Replicas:               1 desired | 1 updated | 1 total | 1 available",
        ),
        ("describe ns bank", "Labels:       istio-injection=enabled"),
        ("version", "Server Version: v1.36.0"),
        ("get --raw /healthz", "ok"),
        ("api-resources", "apps/v1"),
        ("get mutatingwebhookconfigurations", "istio-sidecar-injector   2          365d"),
    ],
)
def test_plain_kubectl_reads_it(standing: Server, command: str, args: str, line: str) -> None:
    done = kubectl(standing, *args.split(), command=command)
    assert done.returncode == 0, done.stderr
    assert line in done.stdout


@pytest.mark.parametrize("command", KUBECTLS)
@pytest.mark.parametrize(
    "kind", ["Secret", "ConfigMap", "Pod", "Deployment", "DaemonSet", "ValidatingWebhookConfiguration"]
)
def test_kubectl_gets_the_very_objects_of_the_mesh(standing: Server, command: str, kind: str) -> None:
    done = kubectl(standing, "get", kind, "-A", "-o", "yaml", "--show-managed-fields", command=command)
    shown = {one["metadata"]["uid"]: one for one in yaml.safe_load(done.stdout)["items"]}
    assert shown == {one["metadata"]["uid"]: one for one in MESH.objects() if one["kind"] == kind}


def test_pods_show_as_they_are(standing: Server) -> None:
    shown = kubectl(standing, "get", "pods", "-n", "shop", "--no-headers").stdout
    states = {line.split()[0].split("-")[0]: line.split()[1:3] for line in shown.splitlines()}
    assert (states["web"], states["young"], states["done"]) == (
        ["2/2", "Running"],
        ["0/2", "Pending"],
        ["0/2", "Succeeded"],
    )
    assert "native" not in shown
    ledger = kubectl(standing, "get", "pods", "-n", "bank", "--no-headers").stdout
    assert ledger.split()[1:3] == ["2/2", "Running"]  # the native sidecar counts


def test_kubectl_pages_through_a_long_list(standing: Server) -> None:
    all_at_once = kubectl(standing, "get", "configmaps", "-A", "-o", "name")
    in_pages = kubectl(standing, "get", "configmaps", "-A", "-o", "name", "--chunk-size=2")
    assert in_pages.stdout == all_at_once.stdout
    assert sum("continue" in request.query for request in standing.requests) >= 3


def test_a_missing_object_is_not_found_in_kubectls_words(standing: Server) -> None:
    done = kubectl(standing, "get", "secret", "-n", "bank", "cacerts")
    assert (done.returncode, done.stderr) == (1, 'Error from server (NotFound): secrets "cacerts" not found\n')


def test_kubectl_writes_by_patch(server: Server) -> None:
    patch = json.dumps({"stringData": {"previous-ca-cert.pem": "old"}})
    done = kubectl(server, "patch", "secret", "-n", "istio-system", "istio-ca-secret", "--type=merge", "-p", patch)
    assert done.stdout == "secret/istio-ca-secret patched\n"
    restarted = kubectl(server, "rollout", "restart", "deploy/istiod", "-n", "istio-system")
    assert restarted.stdout == "deployment.apps/istiod restarted\n"
    (secret,) = [one for one in server.objects("Secret") if one["metadata"]["name"] == "istio-ca-secret"]
    (istiod,) = [one for one in server.objects("Deployment") if one["metadata"]["name"] == "istiod"]
    assert base64.b64decode(secret["data"]["previous-ca-cert.pem"]) == b"old"
    assert "kubectl.kubernetes.io/restartedAt" in istiod["spec"]["template"]["metadata"]["annotations"]
    assert istiod["metadata"]["generation"] == 2


# What is there, and what is not


@pytest.mark.parametrize("path", ["/api/v1/nonsense", "/api/v1/namespaces/bank/secrets/x/y", "/apis/apps/v1/nonsense"])
def test_an_unknown_resource_is_a_status(read: Asking, path: str) -> None:
    refused = read(path)
    assert (refused.status, refused.json()["kind"], refused.json()["reason"]) == (404, "Status", "NotFound")


def test_a_group_that_is_not_served_is_a_plain_404(read: Asking) -> None:
    refused = read("/apis/certificates.k8s.io/v1beta1/clustertrustbundles")
    assert (refused.status, refused.data) == (404, b"404 page not found\n")


def test_a_trust_bundle_is_served_where_the_mesh_has_one() -> None:
    with serve(replace(MESH, trust_bundle=(STRANGE,))) as server:
        shown = kubectl(server, "get", "clustertrustbundles")
        with connected(server) as ask:
            bundle = ask(
                "/apis/certificates.k8s.io/v1beta1/clustertrustbundles/istio.io%3Aistiod-ca%3Aroot-cert"
            ).json()
    assert "istio.io:istiod-ca:root-cert   istio.io/istiod-ca" in shown.stdout
    assert bundle["spec"]["trustBundle"].startswith("-----BEGIN CERTIFICATE-----")


@pytest.mark.parametrize("method", ["PUT", "DELETE", "POST"])
def test_what_the_sandbox_does_not_do_is_refused(read: Asking, method: str) -> None:
    assert read("/api/v1/namespaces/bank/configmaps/istio-ca-root-cert", method).status == 405


# Who asks


def test_the_official_client_reads_with_a_token_and_with_a_certificate(server: Server, tmp_path: Path) -> None:
    certified = server.write_kubeconfig(tmp_path / "kubeconfig", credentials="certificate")
    for kubeconfig in (server.kubeconfig, certified):
        with official(server, kubeconfig) as api:
            listed = client.CoreV1Api(api).list_namespaced_secret("istio-system")
        assert [one.metadata.name for one in listed.items] == ["istio-ca-secret", "sh.helm.release.v1.istiod.v1"]
    assert [request.user for request in server.requests] == ["tester", "tester"]


@pytest.mark.parametrize("headers", [{"Authorization": "Bearer wrong"}, {"Authorization": "Basic dGVzdGVyOng="}])
def test_wrong_credentials_are_401(read: Asking, headers: dict[str, str]) -> None:
    refused = read("/api/v1/secrets", headers=headers)
    assert (refused.status, refused.json()["reason"]) == (401, "Unauthorized")


def test_nobody_is_401(server: Server, tmp_path: Path) -> None:
    nobody = server.write_kubeconfig(tmp_path / "kubeconfig", credentials="none")
    with official(server, nobody) as api, pytest.raises(client.ApiException) as refused:
        client.CoreV1Api(api).list_namespace()
    assert refused.value.status == 401


def test_impersonation_is_seen(server: Server) -> None:
    kubectl(server, "get", "--raw", "/api/v1/pods", "--as=jane", "--as-group=ops", "--as-group=dev")
    (request,) = [one for one in server.requests if one.path == "/api/v1/pods"]
    assert (request.user, request.headers.getall("impersonate-group")) == ("jane", ["ops", "dev"])


def test_a_denied_right_is_403_in_the_words_of_rbac(server: Server) -> None:
    server.forbid("list", "secrets", namespace="")
    server.forbid("get", "deployments", namespace="bank", user="jane")
    everywhere = kubectl(server, "get", "secrets", "-A")
    assert everywhere.stderr == (
        'Error from server (Forbidden): secrets is forbidden: User "tester" cannot list resource "secrets" in API '
        'group "" at the cluster scope\n'
    )
    assert kubectl(server, "get", "secrets", "-n", "istio-system").returncode == 0
    named = kubectl(server, "get", "deploy", "-n", "bank", "ledger", "--as=jane")
    assert named.stderr == (
        'Error from server (Forbidden): deployments.apps "ledger" is forbidden: User "jane" cannot get resource '
        '"deployments" in API group "apps" in the namespace "bank"\n'
    )
    assert kubectl(server, "get", "deploy", "-n", "bank", "ledger").returncode == 0


def test_an_access_review_answers_as_the_requests_would(server: Server) -> None:
    server.forbid("list", "secrets", namespace="")
    server.forbid("*", "pods/portforward")
    with official(server) as api:
        reviews = client.AuthorizationV1Api(api)

        def may(**attributes: Any) -> bool:
            spec = client.V1SelfSubjectAccessReviewSpec(resource_attributes=client.V1ResourceAttributes(**attributes))
            review = reviews.create_self_subject_access_review(client.V1SelfSubjectAccessReview(spec=spec))
            return bool(review.status.allowed)

        answers = [
            may(verb="list", resource="secrets"),
            may(verb="list", resource="secrets", namespace="bank"),
            may(verb="create", resource="pods", subresource="portforward", namespace="bank"),
            may(verb="patch", group="apps", resource="deployments", namespace="istio-system"),
        ]
    assert answers == [False, True, False, True]


# PATCH


CA_SECRET = "/api/v1/namespaces/istio-system/secrets/istio-ca-secret"


def test_a_patch_with_the_right_version_is_written_once(ask: Asking) -> None:
    version = ask(CA_SECRET).json()["metadata"]["resourceVersion"]
    patch = {"metadata": {"resourceVersion": version}, "data": {"a": "Yg==", "root-cert.pem": None}}
    written = ask.patch(CA_SECRET, patch).json()
    again = ask.patch(CA_SECRET, patch)
    assert written["metadata"]["resourceVersion"] != version
    assert ask(CA_SECRET).json() == written
    assert "root-cert.pem" not in written["data"]
    assert (again.status, again.json()["reason"]) == (409, "Conflict")
    assert again.json()["message"] == (
        'Operation cannot be fulfilled on secrets "istio-ca-secret": the object has been modified; please apply your '
        "changes to the latest version and try again"
    )


def test_a_dry_run_writes_nothing(ask: Asking) -> None:
    before = ask(CA_SECRET).json()
    shown = ask.patch(f"{CA_SECRET}?dryRun=All", {"data": {"a": "Yg=="}}).json()
    assert shown["data"]["a"] == "Yg=="
    assert ask(CA_SECRET).json() == before


def test_a_patch_that_changes_nothing_keeps_the_version(ask: Asking) -> None:
    before = ask(CA_SECRET).json()
    assert ask.patch(CA_SECRET, {"data": {"key.pem": ""}}).json() == before


@pytest.mark.parametrize("patch", [{"type": "Opaque"}, {"data": {"ca-cert.pem": "Yg=="}}])
def test_what_is_immutable_stays(ask: Asking, server: Server, patch: dict[str, Any]) -> None:
    server.change("Secret", "istio-system", "istio-ca-secret", {"immutable": True})
    assert ask.patch(CA_SECRET, patch).status == 422


@pytest.mark.parametrize("patch", [[], {"metadata": None}])
def test_a_patch_that_is_none_is_refused(ask: Asking, patch: Any) -> None:
    assert ask.patch(CA_SECRET, patch).status == 400


def test_a_patch_of_another_kind_is_refused(ask: Asking) -> None:
    assert ask(CA_SECRET, "PATCH", headers={"Content-Type": "application/json-patch+json"}, body="[]").status == 415


# The cluster changes


def test_a_cluster_becomes_another_description(server: Server, ask: Asking) -> None:
    before = {one["metadata"]["uid"]: one for one in ask("/api/v1/configmaps").json()["items"]}
    moved = replace(MESH, ca=Authority(root=Ca(key="new")), trust_bundle=(Ca(key="new"),), edits=())
    server.become(moved)
    after = {one["metadata"]["uid"]: one for one in ask("/api/v1/configmaps").json()["items"]}
    same = {uid for uid in after if after[uid] == before.get(uid)}
    assert {after[uid]["metadata"]["name"] for uid in same} >= {"kube-root-ca.crt", "istio"}
    assert {one["metadata"]["name"] for uid, one in before.items() if uid not in after} == {
        "istio-ca-root-cert",
        "istio-ca-crl",
    }
    assert ask("/apis/certificates.k8s.io/v1beta1/clustertrustbundles").status == 200
    described = {one["metadata"]["uid"]: one for one in moved.objects()}
    served = ask(CA_SECRET).json()
    assert served["data"] == described[served["metadata"]["uid"]]["data"]


def test_objects_come_and_go(server: Server, ask: Asking) -> None:
    server.change("Secret", "bank", "late", {"type": "Opaque", "stringData": {"a": "b"}})
    assert ask("/api/v1/namespaces/bank/secrets/late").json()["data"] == {"a": "Yg=="}
    server.delete("Secret", "bank", "late")
    assert ask("/api/v1/namespaces/bank/secrets/late").status == 404


# A process of its own


def test_a_yaml_description_is_served_until_terminated(tmp_path: Path) -> None:
    description, kubeconfig, dump = (tmp_path / name for name in ("mesh.yaml", "kubeconfig", "dump.yaml"))
    description.write_text("{namespaces: [bank], proxies: [{name: ledger, namespace: bank}]}")
    command = [sys.executable, "-m", "sandbox", str(description), "--kubeconfig", str(kubeconfig), "--dump", str(dump)]
    tests = Path(__file__).parent
    with subprocess.Popen(command, cwd=tests, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        shown = subprocess.run(
            [
                KUBECTLS[0],
                *["get", "secret", "-n", "istio-system", "istio-ca-secret", "-o", "yaml", "--show-managed-fields"],
            ],
            env={"PATH": os.environ["PATH"], "KUBECONFIG": str(kubeconfig), "KUBECACHEDIR": str(tmp_path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        process.send_signal(signal.SIGTERM)
        rest, complaints = process.communicate(timeout=10)
    assert line.startswith("sandbox: https://127.0.0.1:")
    assert (process.returncode, rest, complaints) == (0, "", "")
    assert yaml.safe_load(shown) in yaml.safe_load(dump.read_text())["items"]


def test_a_mesh_can_be_edited_into_any_shape() -> None:
    broken = Edit(
        kind="Secret", namespace="istio-system", name="istio-ca-secret", patch={"data": {"ca-cert.pem": "%%%"}}
    )
    with serve(replace(MESH, edits=(broken,))) as server, connected(server) as ask:
        assert ask(CA_SECRET).json()["data"]["ca-cert.pem"] == "%%%"

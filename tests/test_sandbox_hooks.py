"""What a test can do in the middle of somebody's requests, and what it can know of them afterwards."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
import urllib3

from asking import Asking, connected
from sandbox import Edit, Lost, Mesh, Namespace, Server, serve

if TYPE_CHECKING:
    from collections.abc import Iterator

HOME = "istio-system"
SECRET = f"/api/v1/namespaces/{HOME}/secrets/istio-ca-secret"
STRICT = Edit(kind="PeerAuthentication", namespace=HOME, name="default", patch={"spec": {"mtls": {"mode": "STRICT"}}})


@pytest.fixture
def server() -> Iterator[Server]:
    with serve(Mesh(now=datetime.now(UTC), namespaces=(Namespace("bank"),))) as server:
        yield server


def test_somebody_writes_before_our_request_is_answered(server: Server, ask: Asking) -> None:
    def rotate(_: object) -> None:
        server.change("Secret", HOME, "istio-ca-secret", {"stringData": {"ca-cert.pem": "another"}})

    version = ask(SECRET).json()["metadata"]["resourceVersion"]
    server.on(rotate, method="PATCH", path="*/istio-ca-secret")
    patch = {"metadata": {"resourceVersion": version}, "stringData": {"ca-cert.pem": "ours"}}
    assert ask.patch(SECRET, patch).status == 409
    assert base64.b64decode(ask(SECRET).json()["data"]["ca-cert.pem"]) == b"another"
    fresh = {**patch, "metadata": {}}
    assert ask.patch(SECRET, fresh).status == 200  # it acted once


def test_somebody_acts_when_our_request_is_done_and_its_answer_not_sent(server: Server, ask: Asking) -> None:
    seen: list[object] = []

    def look(request: object) -> None:
        (secret,) = (one for one in server.objects("Secret") if one["metadata"]["name"] == "istio-ca-secret")
        seen.append((request.method, base64.b64decode(secret["data"]["ca-cert.pem"])))  # type: ignore[attr-defined]

    server.on(look, method="PATCH", after=True)
    assert ask.patch(SECRET, {"stringData": {"ca-cert.pem": "ours"}}).status == 200
    assert seen == [("PATCH", b"ours")]


def test_an_act_may_ask_the_same_server(server: Server, ask: Asking) -> None:
    server.on(lambda _: ask.patch(SECRET, {"stringData": {"ca-cert.pem": "theirs"}}), method="PATCH")
    assert ask.patch(SECRET, {"stringData": {"ca-cert.pem": "ours"}}).status == 200
    history = server.history("Secret", HOME, "istio-ca-secret")
    assert [base64.b64decode(one["data"]["ca-cert.pem"]) for one in history[1:] if one] == [b"theirs", b"ours"]


def test_a_lost_answer_is_of_a_write_that_was_done(server: Server, ask: Asking) -> None:
    server.faults.add(Lost(), method="PATCH", times=1)
    with pytest.raises(urllib3.exceptions.ProtocolError):
        ask.patch(SECRET, {"stringData": {"ca-cert.pem": "ours"}})
    assert base64.b64decode(ask(SECRET).json()["data"]["ca-cert.pem"]) == b"ours"


def test_history_knows_every_version_that_ever_stood_there(server: Server, ask: Asking) -> None:
    first = ask(SECRET).json()
    ask.patch(SECRET, {"stringData": {"ca-cert.pem": "ours"}})
    second = ask(SECRET).json()
    server.delete("Secret", HOME, "istio-ca-secret")
    server.compact()
    assert server.history("Secret", HOME, "istio-ca-secret") == (first, second, None)
    assert server.history("Secret", "bank", "nothing") == (None,)


# Who wrote


def test_a_patch_says_who_wrote_what(ask: Asking) -> None:
    before = ask(SECRET).json()["metadata"]["managedFields"]
    assert [(one["manager"], one["operation"]) for one in before] == [("pilot-discovery", "Update")]
    assert "f:ca-cert.pem" in before[0]["fieldsV1"]["f:data"]
    ask.patch(f"{SECRET}?fieldManager=kubectl-ours", {"data": {"ca-cert.pem": "b3Vycw=="}})
    theirs, ours = ask(SECRET).json()["metadata"]["managedFields"]
    assert (theirs["manager"], ours["manager"], ours["operation"]) == ("pilot-discovery", "kubectl-ours", "Update")
    assert ours["fieldsV1"] == {"f:data": {"f:ca-cert.pem": {}}}
    assert "f:ca-cert.pem" not in theirs["fieldsV1"]["f:data"]
    assert "f:ca-key.pem" in theirs["fieldsV1"]["f:data"]


def test_a_patch_without_a_name_has_that_of_the_program(ask: Asking) -> None:
    headers = {"Content-Type": "application/merge-patch+json", "User-Agent": "curl/8.1"}
    ask(SECRET, "PATCH", headers=headers, body=json.dumps({"data": {"a": "YQ=="}}))
    assert ask(SECRET).json()["metadata"]["managedFields"][-1]["manager"] == "curl"


# Watches


def watched(ask: Asking, path: str) -> list[tuple[str, str]]:
    """What a watch of a second tells."""
    text = ask(f"{path}{'&' if '?' in path else '?'}watch=true&timeoutSeconds=1").data.decode()
    events = [json.loads(line) for line in text.splitlines()]
    versions = [int(event["object"]["metadata"]["resourceVersion"]) for event in events]
    assert versions == sorted(set(versions))
    return [(event["type"], event["object"]["metadata"]["name"]) for event in events]


def test_a_watch_goes_on_where_a_list_was(server: Server, ask: Asking) -> None:
    version = ask("/api/v1/secrets").json()["metadata"]["resourceVersion"]
    server.change("Secret", "bank", "late", {"stringData": {"a": "b"}})
    server.change("Secret", "bank", "late", {"stringData": {"a": "c"}})
    server.change("ConfigMap", "bank", "other", {"data": {"a": "c"}})
    server.delete("Secret", "bank", "late")
    seen = watched(ask, f"/api/v1/secrets?resourceVersion={version}")
    assert seen == [("ADDED", "late"), ("MODIFIED", "late"), ("DELETED", "late")]


def test_a_watch_tells_what_its_selector_takes(server: Server, ask: Asking) -> None:
    version = ask("/api/v1/secrets").json()["metadata"]["resourceVersion"]
    server.change("Secret", "bank", "late", {"metadata": {"labels": {"a": "b"}}})
    server.change("Secret", "bank", "late", {"metadata": {"labels": {"a": "c"}}})
    path = f"/api/v1/namespaces/bank/secrets?resourceVersion={version}&labelSelector=a%3Db"
    assert watched(ask, path) == [("ADDED", "late"), ("DELETED", "late")]
    assert watched(ask, path.replace("bank", HOME)) == []


def test_a_watch_without_a_version_begins_with_what_is_there(ask: Asking) -> None:
    assert watched(ask, "/api/v1/namespaces?fieldSelector=metadata.name%3Dbank") == [("ADDED", "bank")]


def test_a_watch_that_is_too_late_is_told_so(server: Server, ask: Asking) -> None:
    server.change("Secret", "bank", "late", {"stringData": {"a": "b"}})
    server.compact()
    assert ask("/api/v1/secrets?watch=true&resourceVersion=1").status == 410


def test_a_watch_is_a_right_of_its_own(server: Server, ask: Asking) -> None:
    server.forbid("watch", "secrets")
    assert ask("/api/v1/secrets?watch=true").status == 403
    assert ask("/api/v1/secrets").status == 200


# Kinds of Istio


def test_a_kind_of_istio_is_served_where_an_object_of_it_stands() -> None:
    path = "/apis/security.istio.io/v1/peerauthentications"
    with serve(Mesh(now=datetime.now(UTC), edits=(STRICT,))) as server, connected(server) as ask:
        (found,) = ask(path).json()["items"]
        assert found["spec"] == {"mtls": {"mode": "STRICT"}}
        assert ask("/apis/networking.istio.io/v1/destinationrules").status == 404
        assert server.objects("DestinationRule") == []


def test_a_kind_of_the_citadel_era_has_its_version() -> None:
    policy = Edit(kind="MeshPolicy", name="default", patch={"spec": {"peers": [{"mtls": {}}]}})
    rule = Edit(kind="DestinationRule", namespace=HOME, name="default", patch={"spec": {"host": "*.local"}})
    described = Mesh(now=datetime.now(UTC), era="citadel", version="1.4.10", edits=(policy, rule))
    with serve(described) as server, connected(server) as ask:
        assert len(ask("/apis/authentication.istio.io/v1alpha1/meshpolicies").json()["items"]) == 1
        assert len(ask("/apis/networking.istio.io/v1alpha3/destinationrules").json()["items"]) == 1


def test_a_further_cluster_has_a_remote_secret() -> None:
    with serve(Mesh(now=datetime.now(UTC), remotes=("west",))) as server, connected(server) as ask:
        (found,) = ask("/api/v1/secrets?labelSelector=istio/multiCluster%3Dtrue").json()["items"]
    assert found["metadata"]["annotations"] == {"networking.istio.io/cluster": "west"}

"""Writes to a live cluster: sent once, refused in the server's words, and never in doubt without saying so."""

from __future__ import annotations

import base64
import json
import socket
import traceback
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING, Any

import pytest

from meshtrust.cluster import Cluster, Connection
from meshtrust.errors import Conflict, NotAllowed, Refused, ToolError, Unreachable, Unseen
from meshtrust.objects import KubeObject, Ref
from meshtrust.source import Right
from sandbox import Mesh, Namespace
from sandbox.faults import Answer, Cut, Fault, Request, Reset, Silence, Slow
from sandbox.server import Server, serve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from meshtrust.source import Living

HOME = "istio-system"
CA = Ref("Secret", HOME, "istio-ca-secret")
PATH = "/api/v1/namespaces/istio-system/secrets/istio-ca-secret"
DEED = 'patch secrets "istio-ca-secret" in namespace "istio-system"'
DOUBT = "; whether it was written is not known yet"
PUBLIC = "UFVCTElD" * 8  # what we send, in base64
NOTE = {"metadata": {"annotations": {"note": "new"}}, "data": {"previous-ca-cert.pem": PUBLIC}}
PATCH_CA = Right("patch", "Secret", HOME, CA.name)
UNNOTED = {"metadata": {"annotations": {"note": None}}, "data": {"previous-ca-cert.pem": None}}


@pytest.fixture(scope="module")
def running() -> Iterator[Server]:
    with serve(Mesh(now=datetime.now(UTC), namespaces=(Namespace("bank"),))) as server:
        yield server


@pytest.fixture
def server(running: Server) -> Iterator[Server]:
    yield running
    running.faults.clear()
    running.access.allow_all()
    running.change("Secret", HOME, CA.name, {"immutable": None, **UNNOTED})


@pytest.fixture
def cluster(server: Server) -> Iterator[Cluster]:
    with Cluster(Connection(kubeconfig=str(server.kubeconfig), request_timeout=5)) as cluster:
        yield cluster


def stands(server: Server) -> dict[str, Any]:
    """What stands there now, not as the cluster under test tells it."""
    (body,) = (body for body in server.objects("Secret") if body["metadata"]["name"] == CA.name)
    return body


def read(cluster: Cluster, ref: Ref = CA) -> KubeObject:
    (found,) = cluster.objects(ref.kind, namespace=ref.namespace, name=ref.name)
    assert isinstance(found, KubeObject)
    return found


def refusal(cluster: Cluster, ref: Ref = CA, change: dict[str, Any] = NOTE) -> ToolError:
    with pytest.raises(ToolError) as refused:
        cluster.patch(ref, change)
    assert refused.value.hint
    assert (refused.value.message + refused.value.hint).isprintable()
    return refused.value


def patches(server: Server, since: int = 0) -> list[Request]:
    return [request for request in server.requests[since:] if request.method == "PATCH"]


class TestWritten:
    def test_the_answer_is_the_object_as_it_is_from_then_on(self, server: Server, cluster: Cluster) -> None:
        living: Living = cluster
        before = read(cluster)
        version = before.body["metadata"]["resourceVersion"]
        after = living.patch(CA, {**NOTE, "metadata": {"resourceVersion": version}})
        assert after == read(cluster)
        assert after.ref == CA
        assert after.body["data"] == {**before.body["data"], "previous-ca-cert.pem": PUBLIC}
        assert after.body["metadata"]["resourceVersion"] != version
        assert after.body["data"] == stands(server)["data"]

    def test_it_is_one_merge_patch_in_our_name_that_the_server_gives_up_when_we_do(
        self, server: Server, cluster: Cluster
    ) -> None:
        before = len(server.requests)
        cluster.patch(CA, NOTE)
        (sent,) = patches(server, before)
        assert (sent.path, dict(sent.query)) == (PATH, {"fieldManager": "kubectl-istio-root", "timeout": "5000ms"})
        assert sent.headers["Content-Type"] == "application/merge-patch+json"
        assert json.loads(sent.body) == NOTE

    def test_without_a_limit_none_is_asked_for(self, server: Server) -> None:
        with Cluster(Connection(kubeconfig=str(server.kubeconfig), request_timeout=None)) as cluster:
            cluster.patch(CA, NOTE)
        assert "timeout" not in patches(server)[-1].query

    def test_null_takes_a_key_away(self, cluster: Cluster) -> None:
        cluster.patch(CA, NOTE)
        assert "previous-ca-cert.pem" not in cluster.patch(CA, {"data": {"previous-ca-cert.pem": None}}).body["data"]

    def test_what_has_no_namespace_is_written_too(self, server: Server, cluster: Cluster) -> None:
        hook = Ref("MutatingWebhookConfiguration", "", "istio-sidecar-injector")
        assert cluster.patch(hook, {"metadata": {"labels": {"new": "yes"}}}).labels["new"] == "yes"
        path = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/istio-sidecar-injector"
        assert patches(server)[-1].path == path

    def test_the_version_that_is_served_is_found_and_remembered(self, server: Server, cluster: Cluster) -> None:
        ref, before = Ref("ClusterTrustBundle", "", "bundle"), len(server.requests)
        one = json.dumps({"metadata": {"name": "bundle"}, "spec": {"trustBundle": "PEM"}})
        server.faults.add(Answer(200, body=one), path="/apis/certificates.k8s.io/v1beta1/*")
        for _ in range(2):
            assert cluster.patch(ref, {"spec": {}}).body["spec"] == {"trustBundle": "PEM"}
        assert [request.path.split("/")[3] for request in patches(server, before)] == ["v1", "v1beta1", "v1beta1"]

    def test_the_version_that_a_list_has_found_is_written(self, server: Server, cluster: Cluster) -> None:
        found = json.dumps({"items": [], "metadata": {}})
        server.faults.add(Answer(200, body=found), method="GET", path="/apis/certificates.k8s.io/v1alpha1/*")
        assert list(cluster.objects("ClusterTrustBundle")) == []
        before = len(server.requests)
        refusal(cluster, Ref("ClusterTrustBundle", "", "bundle"))
        assert [request.path.split("/")[3] for request in patches(server, before)] == ["v1alpha1"]

    def test_a_connection_that_was_forgotten_between_us_is_not_written_to(self, server: Server) -> None:
        """As behind a firewall that drops what is idle: the first request of each connection is answered, no other."""
        with forgetful() as url:
            connection = Connection(kubeconfig=str(server.kubeconfig), server=url, request_timeout=2)
            with Cluster(connection) as cluster:
                read(cluster)
                assert cluster.patch(CA, NOTE).ref == CA


class Forgetful(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = json.dumps({"metadata": {"name": CA.name, "namespace": CA.namespace}}).encode()
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        with suppress(OSError):
            while self.rfile.read(1):
                pass
        self.close_connection = True

    do_PATCH = do_GET  # noqa: N815 - a name of http.server

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def forgetful() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Forgetful) as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def status(code: int, message: str, **more: Any) -> Answer:
    return Answer(code, body=json.dumps({"kind": "Status", "message": message, "code": code, **more}))


class TestRefused:
    def test_who_changed_it_meanwhile_keeps_his_change(self, server: Server, cluster: Cluster) -> None:
        version = read(cluster).body["metadata"]["resourceVersion"]
        server.change("Secret", HOME, CA.name, {"metadata": {"labels": {"other": "hand"}}})
        before, there = len(server.requests), stands(server)
        error = refusal(cluster, change={**NOTE, "metadata": {"resourceVersion": version}})
        assert isinstance(error, Conflict)
        assert error.message.startswith(f'cannot {DEED}: Operation cannot be fulfilled on secrets "istio-ca-secret": ')
        assert "nothing was written" in error.hint
        assert stands(server) == there
        assert len(patches(server, before)) == 1

    def test_an_immutable_secret_says_so(self, server: Server, cluster: Cluster) -> None:
        server.change("Secret", HOME, CA.name, {"immutable": True})
        there = stands(server)
        error = refusal(cluster)
        assert type(error) is Refused
        assert "field is immutable when `immutable` is set" in error.message
        assert stands(server) == there

    def test_a_missing_right_is_named_with_the_object(self, server: Server, cluster: Cluster) -> None:
        server.forbid("patch", "secrets", namespace=HOME)
        error = refusal(cluster)
        assert isinstance(error, NotAllowed)
        assert error.message == f'User "tester" cannot {DEED}'
        assert error.hint.endswith("kubectl auth can-i patch secrets/istio-ca-secret -n istio-system")

    def test_a_missing_right_on_what_has_no_namespace(self, server: Server, cluster: Cluster) -> None:
        server.forbid("patch", "*")
        kind = "mutatingwebhookconfigurations.admissionregistration.k8s.io"
        error = refusal(cluster, Ref("MutatingWebhookConfiguration", "", "hook"))
        assert error.message == f'User "tester" cannot patch {kind} "hook" at the cluster scope'
        assert error.hint.endswith(f"kubectl auth can-i patch {kind}/hook -A")

    @pytest.mark.parametrize(
        ("code", "words"),
        [
            (403, 'admission webhook "policy.example" denied the request: not on a Friday'),
            (400, 'admission webhook "policy.example" denied the request: not on a Friday'),
            (401, 'admission webhook "policy.example" denied the request: who are you'),
            (409, 'admission webhook "policy.example" denied the request without explanation'),
            (503, 'admission webhook "policy.example" denied the request: not now'),
            (
                403,
                (
                    "secrets is forbidden: ValidatingAdmissionPolicy 'frozen' with binding 'all' denied request: "
                    'User "tester" cannot do that'
                ),
            ),
            (422, "ValidatingAdmissionPolicy 'frozen' with binding 'all' denied request: failed expression: false"),
            (403, 'secrets "istio-ca-secret" is forbidden: exceeded quota: bytes, requested: 1, used: 2, limited: 2'),
            (422, 'Secret "istio-ca-secret" is invalid: data: Too long: may not be more than 1048576 bytes'),
            (400, "error decoding patch: unexpected end of JSON input"),
            (413, "Request entity too large: limit is 3145728"),
            (405, "the server does not allow this method on the requested resource"),
            (
                500,
                'Internal error occurred: failed calling webhook "policy.example": context deadline exceeded',
            ),
        ],
    )
    def test_it_was_not_written_and_the_server_says_why(
        self, server: Server, cluster: Cluster, code: int, words: str
    ) -> None:
        before = len(server.requests)
        server.faults.add(status(code, words), method="PATCH")
        error = refusal(cluster)
        assert type(error) is Refused
        assert error.message == f"cannot {DEED}: {words}"
        assert error.hint.startswith("nothing was written")
        assert len(patches(server, before)) == 1

    @pytest.mark.parametrize(
        ("ref", "thing"),
        [
            (Ref("Secret", HOME, "gone"), 'secrets "gone" in namespace "istio-system"'),
            (Ref("Secret", "nowhere", "gone"), 'secrets "gone" in namespace "nowhere"'),
            (Ref("Deployment", HOME, "gone"), 'deployments.apps "gone" in namespace "istio-system"'),
            (
                Ref("ClusterTrustBundle", "", "x"),
                'clustertrustbundles.certificates.k8s.io "x" at the cluster scope',
            ),
        ],
        ids=str,
    )
    def test_what_is_gone_is_not_made_anew(self, cluster: Cluster, ref: Ref, thing: str) -> None:
        error = refusal(cluster, ref)
        assert type(error) is Refused
        # Of a kind in several versions, the last that was asked for is named: none of them is served here.
        assert error.message == f"cannot patch {thing}: it is gone"

    def test_what_a_served_version_does_not_find_is_not_looked_for_in_another(
        self, server: Server, cluster: Cluster
    ) -> None:
        before = len(server.requests)
        gone = status(404, "not found", details={"kind": "clustertrustbundles", "name": "x"})
        server.faults.add(gone, path="/apis/certificates.k8s.io/v1/*")
        assert type(refusal(cluster, Ref("ClusterTrustBundle", "", "x"))) is Refused
        assert len(patches(server, before)) == 1

    def test_an_expired_token_is_none_of_the_object(self, server: Server) -> None:
        with Cluster(Connection(kubeconfig=str(server.kubeconfig), token="expired")) as cluster:
            error = refusal(cluster)
        assert not isinstance(error, Unseen | Refused)
        assert error.message == "You must be logged in to the server (Unauthorized)"


class TestPutOff:
    def test_the_server_is_waited_for_where_it_says_for_how_long(self, server: Server, cluster: Cluster) -> None:
        before = len(server.requests)
        plain = Answer(429, body="Too many requests, please try again later.\n", content_type="text/plain")
        server.faults.add(Answer(429, retry_after=0), method="PATCH", times=2)
        assert cluster.patch(CA, NOTE).annotations["note"] == "new"
        assert len(patches(server, before)) == 3
        server.faults.add(plain, method="PATCH")
        error = refusal(cluster)  # this one does not say for how long
        assert type(error) is Refused
        assert error.message.endswith("answered 429 Too Many Requests")
        assert len(patches(server, before)) == 4

    def test_and_not_for_ever(self, server: Server, cluster: Cluster) -> None:
        before = len(server.requests)
        server.faults.add(Answer(429, retry_after=0), method="PATCH")
        assert type(refusal(cluster)) is Refused
        assert len(patches(server, before)) == 6

    def test_a_connection_that_is_refused_is_tried_again(self, server: Server) -> None:
        lines: list[str] = []
        with socket.create_server(("127.0.0.1", 0)) as free:
            address = f"127.0.0.1:{free.getsockname()[1]}"
        connection = Connection(kubeconfig=str(server.kubeconfig), server=f"https://{address}")
        with Cluster(connection, lines.append) as cluster:
            error = refusal(cluster)
        assert isinstance(error, Unreachable)
        assert error.message == (
            f"The connection to the server {address} was refused - did you specify the right host or port?"
        )
        assert len(lines) == 3

    def test_a_connection_that_does_not_come_to_be_leaves_no_doubt(self, server: Server) -> None:
        with socket.create_server(("127.0.0.1", 0), backlog=0) as full, socket.create_connection(full.getsockname()):
            address = f"127.0.0.1:{full.getsockname()[1]}"  # nobody accepts: there is room for one only
            connection = Connection(kubeconfig=str(server.kubeconfig), server=f"https://{address}", request_timeout=0.3)
            with Cluster(connection) as cluster:
                message = refusal(cluster).message
        assert message == f"Unable to connect to the server: no answer from {address} within 0.3s"

    def test_a_certificate_that_is_refused_leaves_no_doubt(self, server: Server) -> None:
        lines: list[str] = []
        with Cluster(Connection(kubeconfig=str(server.kubeconfig), tls_server_name="wrong"), lines.append) as cluster:
            message = refusal(cluster).message
        assert message.endswith("certificate is valid for localhost, 127.0.0.1, not wrong")
        assert len(lines) == 1

    def test_a_proxy_that_is_not_there_leaves_no_doubt(self, server: Server, tmp_path: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            address = f"127.0.0.1:{free.getsockname()[1]}"
        config = tmp_path / "kubeconfig"
        entry = f"proxy-url: http://{address}\n    server: "
        config.write_text(server.kubeconfig.read_text().replace("server: ", entry, 1))
        with Cluster(Connection(kubeconfig=str(config))) as cluster:
            message = refusal(cluster).message
        assert message == f"Unable to connect to the server: proxy {address}: connection refused"


class TestInDoubt:
    @pytest.mark.parametrize(
        ("fault", "written"),
        [
            (Reset(), False),
            (Cut(), True),
            (Cut(0), True),
            (Answer(500), False),
            (Answer(502, body="<html>", content_type="text/html"), False),
            (Answer(503, retry_after=0), False),
            (Answer(504), False),
            (Answer(404, body="<html>", content_type="text/html"), False),
            (Answer(403, body="<html>", content_type="text/html"), False),
            (Answer(302, body=""), False),
            (Answer(200, body="<html>login</html>", content_type="text/html"), False),
            (Answer(200, body='{"metadata": {"name": "another"}}'), False),
            (Answer(200, body='{"metadata": {}}'), False),
        ],
        ids=str,
    )
    def test_it_is_sent_once_and_nothing_is_claimed(
        self, server: Server, cluster: Cluster, fault: Fault, written: bool
    ) -> None:
        before = len(server.requests)
        server.faults.add(fault, method="PATCH")
        error = refusal(cluster)
        assert isinstance(error, Unreachable)
        assert DEED in error.message
        assert error.message.endswith(DOUBT)
        assert len(patches(server, before)) == 1
        assert ("note" in read(cluster).annotations) == written

    @pytest.mark.parametrize("fault", [Silence(), Slow(bytes=16, pause=0.05)], ids=str)
    def test_who_is_silent_or_slow_is_not_asked_twice(self, server: Server, fault: Fault) -> None:
        before = len(server.requests)
        server.faults.add(fault, method="PATCH")
        with Cluster(Connection(kubeconfig=str(server.kubeconfig), request_timeout=0.3)) as cluster:
            error = refusal(cluster)
        assert isinstance(error, Unreachable)
        assert error.message.startswith(f"{DEED}: no answer from 127.0.0.1:")
        assert error.message.endswith(f" within 0.3s{DOUBT}")
        assert len(patches(server, before)) == 1

    def test_reading_goes_on_after_it(self, server: Server, cluster: Cluster) -> None:
        server.faults.add(Reset(), method="PATCH", times=1)
        refusal(cluster)
        assert read(cluster).ref == CA
        assert cluster.patch(CA, NOTE).annotations["note"] == "new"


class TestAsWhom:
    def test_impersonation_reaches_writes_and_rights(self, server: Server) -> None:
        server.forbid("patch", "secrets", user="jane")
        with Cluster(Connection(kubeconfig=str(server.kubeconfig), as_user="jane", as_groups=("ops",))) as cluster:
            assert refusal(cluster).message == f'User "jane" cannot {DEED}'
            assert not cluster.may(PATCH_CA)
        assert {request.user for request in server.requests[-2:]} == {"jane"}
        assert {request.headers["Impersonate-Group"] for request in server.requests[-2:]} == {"ops"}

    def test_who_may_not_impersonate_does_not_write(self, server: Server) -> None:
        server.forbid("impersonate", "users")
        with Cluster(Connection(kubeconfig=str(server.kubeconfig), as_user="jane")) as cluster:
            error = refusal(cluster)
        assert isinstance(error, NotAllowed)
        assert 'User "tester" cannot impersonate resource "users"' in error.message

    def test_a_client_certificate_writes(self, server: Server, tmp_path: Path) -> None:
        kubeconfig = server.write_kubeconfig(tmp_path / "kubeconfig", credentials="certificate")
        with Cluster(Connection(kubeconfig=str(kubeconfig))) as cluster:
            assert cluster.patch(CA, NOTE).ref == CA
            assert cluster.may(PATCH_CA)
        assert "Authorization" not in server.requests[-1].headers

    def test_many_threads_write_and_read(self, cluster: Cluster) -> None:
        def act(number: int) -> str:
            if number % 4:
                return str(read(cluster).ref)
            return str(cluster.patch(CA, {"metadata": {"annotations": {"note": str(number)}}}).ref)

        with ThreadPoolExecutor(16) as threads:
            assert set(threads.map(act, range(64))) == {str(CA)}


def test_each_request_is_traced_with_its_verb_and_without_its_body(server: Server) -> None:
    lines: list[str] = []
    with Cluster(Connection(kubeconfig=str(server.kubeconfig), request_timeout=5), lines.append) as cluster:
        server.faults.add(Answer(429, retry_after=0), method="PATCH", times=1)
        cluster.patch(CA, NOTE)
        server.faults.add(Reset(), method="PATCH", times=1)
        refusal(cluster)
        cluster.may(PATCH_CA)
    path = f"{PATH}?fieldManager=kubectl-istio-root&timeout=5000ms"
    begins = [f"PATCH {path} 429 ", f"PATCH {path} 200 ", f"PATCH {path} - "]
    begins.append("POST /apis/authorization.k8s.io/v1/selfsubjectaccessreviews 201 ")
    assert [line for line, begin in zip(lines, begins, strict=True) if not line.startswith(begin)] == []
    assert PUBLIC not in "".join(lines)


# The key of the pretend CA, as text and as it stands in the Secret.
KEY = "-----BEGIN PRIVATE KEY-----\n" + "MHcCAQEEIKEY" * 20 + "\n-----END PRIVATE KEY-----\n"
STORED = base64.b64encode(KEY.encode()).decode()
WHOLE = json.dumps({"apiVersion": "v1", "data": {"ca-key.pem": STORED, "pin": "MTIz"}, "kind": "Secret"})


@pytest.mark.parametrize(
    "make",
    [
        # What patch.go of the API server says of a patch that it cannot decode: `%q` of the whole object.
        lambda: status(422, f' "" is invalid: patch: Invalid value: {json.dumps(WHOLE)}: illegal base64 data'),
        lambda: status(422, f' "" is invalid: patch: Invalid value: {json.dumps(WHOLE)[:300]}'),
        lambda: status(403, f'admission webhook "x" denied the request: map[ca-key.pem:{STORED}]'),
        lambda: status(500, f'failed calling webhook "x": {WHOLE}'),
        lambda: status(409, f"Operation cannot be fulfilled: {KEY}"),
        lambda: Answer(200, body=WHOLE),
        lambda: Answer(500, body=WHOLE),
    ],
)
def test_no_refusal_quotes_the_secret(server: Server, cluster: Cluster, make: Callable[[], Answer]) -> None:
    server.faults.add(make(), method="PATCH")
    with pytest.raises(ToolError) as refused:
        cluster.patch(CA, NOTE)
    told = "".join(traceback.format_exception(refused.value)) + repr(refused.value) + refused.value.hint
    assert "cannot patch secrets" in told
    assert not [part for part in (STORED[:24], "MHcCAQEEIKEY", "MTIz", PUBLIC) if part in told]

"""A live cluster as a source: what is read, what is not, and what a bad server is called."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from meshtrust.cluster import Cluster, Connection
from meshtrust.errors import NotAllowed, ToolError, Unreachable, Unseen
from meshtrust.objects import KINDS, KubeObject, Ref, Unread
from sandbox import Mesh, Namespace
from sandbox.faults import Answer, Cut, Fault, Reset, Silence, Slow
from sandbox.server import Server, serve

if TYPE_CHECKING:
    from collections.abc import Iterator

    from meshtrust.source import Source

HOME = "istio-system"
WRONG = 'is the server of context "sandbox" right, or is there a proxy or a login page in between?'


@pytest.fixture(scope="module")
def running() -> Iterator[Server]:
    with serve(Mesh(now=datetime.now(UTC), namespaces=(Namespace("bank"), Namespace("shop")))) as server:
        yield server


@pytest.fixture(scope="module")
def large() -> Iterator[Server]:
    teams = tuple(Namespace(f"team-{number:03}") for number in range(360))
    with serve(Mesh(now=datetime.now(UTC), namespaces=teams)) as server:
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


def refs(source: Source, kind: str, **narrowed: Any) -> list[str]:
    return [str(found.ref) for found in source.objects(kind, **narrowed)]


def refusal(source: Source, kind: str, **narrowed: Any) -> ToolError:
    with pytest.raises(ToolError) as refused:
        list(source.objects(kind, **narrowed))
    assert refused.value.hint
    assert (refused.value.message + refused.value.hint).isprintable()
    return refused.value


def test_a_cluster_is_a_source_that_is_live(cluster: Cluster) -> None:
    source: Source = cluster
    assert (source.recorded, source.taken_at, source.unread, source.exposed) == (False, None, (), ())
    assert all(source.holds(kind) for kind in KINDS)


@pytest.mark.parametrize("kind", sorted(name for name, kind in KINDS.items() if not kind.of))
def test_every_kind_is_read_whole(server: Server, cluster: Cluster, kind: str) -> None:
    served = kind not in {"ClusterTrustBundle", "WorkloadEntry"}  # a server without them gives none
    there = [body["metadata"] for body in server.objects(kind)] if served else []
    assert refs(cluster, kind) == [str(Ref(kind, meta.get("namespace", ""), meta["name"])) for meta in there]


def test_only_declared_fields_are_kept(cluster: Cluster) -> None:
    (found,) = cluster.objects("Secret", namespace=HOME, name="istio-ca-secret")
    assert isinstance(found, KubeObject)
    assert set(found.body) <= {"metadata", "type", "data"}
    assert "uid" not in found.body["metadata"]


class TestNarrowed:
    def test_by_namespace(self, cluster: Cluster) -> None:
        assert refs(cluster, "Pod", namespace="bank") == []
        assert refs(cluster, "ConfigMap", namespace="bank")[:1] == ["ConfigMap bank/istio-ca-crl"]

    def test_by_name_in_a_namespace(self, server: Server, cluster: Cluster) -> None:
        found = refs(cluster, "Secret", namespace=HOME, name="istio-ca-secret")
        assert found == ["Secret istio-system/istio-ca-secret"]
        assert server.requests[-1].path == "/api/v1/namespaces/istio-system/secrets/istio-ca-secret"

    def test_by_name_in_all_namespaces(self, cluster: Cluster) -> None:
        found = refs(cluster, "ConfigMap", name="istio-ca-root-cert")
        assert "ConfigMap bank/istio-ca-root-cert" in found
        assert all(ref.endswith("/istio-ca-root-cert") for ref in found)

    def test_by_labels(self, server: Server, cluster: Cluster) -> None:
        (pod,) = refs(cluster, "Pod", labels={"app": "istiod", "istio": "pilot"})
        assert pod.startswith("Pod istio-system/istiod-")
        assert server.requests[-1].query["labelSelector"] == "app=istiod,istio=pilot"

    def test_by_name_and_labels(self, cluster: Cluster) -> None:
        assert refs(cluster, "Secret", namespace=HOME, name="istio-ca-secret", labels={"no": "such"}) == []

    def test_to_what_is_not_there(self, cluster: Cluster) -> None:
        assert refs(cluster, "Secret", namespace=HOME, name="nope") == []
        assert refs(cluster, "Secret", namespace="nope") == []
        assert refs(cluster, "ClusterTrustBundle", name="nope") == []


class TestVersions:
    BUNDLE = "istio.io:istiod-ca:root-cert"

    @pytest.fixture
    def beta(self) -> Iterator[Server]:
        with serve(Mesh(now=datetime.now(UTC))) as server:
            list_of = {"kind": "ClusterTrustBundleList", "metadata": {}, "items": [{"metadata": {"name": self.BUNDLE}}]}
            one = {"metadata": {"name": self.BUNDLE}, "spec": {"trustBundle": "PEM"}}
            path = "/apis/certificates.k8s.io/v1beta1/clustertrustbundles"
            server.faults.add(Answer(200, body=json.dumps(list_of)), path=path)
            server.faults.add(Answer(200, body=json.dumps(one)), path=f"{path}/{self.BUNDLE}")
            gone = {"kind": "Status", "details": {"name": "nope", "kind": "clustertrustbundles"}}
            server.faults.add(Answer(404, body=json.dumps(gone)), path=f"{path}/nope")
            yield server

    @pytest.fixture
    def cluster(self, beta: Server) -> Iterator[Cluster]:
        with Cluster(Connection(kubeconfig=str(beta.kubeconfig))) as cluster:
            yield cluster

    def versions(self, server: Server) -> list[str]:
        return [request.path.split("/")[3] for request in server.requests]

    def test_the_next_one_is_asked_where_one_is_not_served(self, beta: Server, cluster: Cluster) -> None:
        assert refs(cluster, "ClusterTrustBundle") == [f"ClusterTrustBundle {self.BUNDLE}"]
        assert self.versions(beta) == ["v1", "v1beta1"]

    def test_the_one_that_is_served_is_remembered(self, beta: Server, cluster: Cluster) -> None:
        assert refs(cluster, "ClusterTrustBundle", name="nope") == []
        assert refs(cluster, "ClusterTrustBundle", name=self.BUNDLE) == [f"ClusterTrustBundle {self.BUNDLE}"]
        assert self.versions(beta) == ["v1", "v1beta1", "v1beta1"]


class TestPages:
    @pytest.fixture
    def cluster(self, large: Server) -> Iterator[Cluster]:
        with Cluster(Connection(kubeconfig=str(large.kubeconfig))) as cluster:
            yield cluster
        large.faults.clear()

    def there(self, server: Server) -> list[str]:
        metadata = [body["metadata"] for body in server.objects("ConfigMap")]
        return [str(Ref("ConfigMap", meta["namespace"], meta["name"])) for meta in metadata]

    def test_a_long_list_is_read_page_after_page(self, large: Server, cluster: Cluster) -> None:
        before = len(large.requests)
        assert refs(cluster, "ConfigMap") == self.there(large)
        assert [request.query["limit"] for request in large.requests[before:]] == ["500"] * 3

    def test_a_list_that_expires_half_way_loses_nothing_and_repeats_nothing(
        self, large: Server, cluster: Cluster
    ) -> None:
        reading = cluster.objects("ConfigMap")
        found = [str(next(reading).ref)]
        large.delete("ConfigMap", "team-000", "istio-ca-crl")  # was on the first page
        large.change("ConfigMap", "team-000", "new", {"data": {}})
        large.compact()
        found += [str(item.ref) for item in reading]
        assert sorted(found) == sorted({*self.there(large), "ConfigMap team-000/istio-ca-crl"})

    def test_a_refusal_half_way_is_not_the_end_of_the_list(self, large: Server, cluster: Cluster) -> None:
        large.faults.add(Answer(403), query={"continue": "?*"})
        reading = cluster.objects("ConfigMap")
        assert isinstance(next(reading), KubeObject)
        with pytest.raises(NotAllowed):
            list(reading)

    def test_a_page_that_breaks_off_is_asked_for_again(self, large: Server, cluster: Cluster) -> None:
        large.faults.add(Cut(), query={"continue": "?*"}, times=1)
        assert refs(cluster, "ConfigMap") == self.there(large)


def listed(*items: Any) -> Answer:
    return Answer(200, body=json.dumps({"kind": "SecretList", "metadata": {}, "items": items}))


class TestOddObjects:
    @pytest.mark.parametrize(
        ("item", "ref", "why"),
        [
            (
                {"metadata": {"name": "a", "namespace": "bank"}, "data": "x"},
                "Secret bank/a",
                "Expected `object | null`",
            ),
            ({"metadata": {"name": "a"}, "data": {"k": 1}}, "Secret a", "Expected `str | null`, got `int`"),
            ({"metadata": {"namespace": "bank"}}, "Secret bank/*", "Object missing required field `name`"),
            ({"metadata": None}, "Secret *", "Expected `object`, got `null`"),
            ({}, "Secret *", "Object missing required field `metadata`"),
            (7, "Secret *", "Expected `object`, got `int`"),
        ],
    )
    def test_one_of_another_shape_is_named_and_the_rest_is_read(
        self, server: Server, cluster: Cluster, item: Any, ref: str, why: str
    ) -> None:
        good = {"metadata": {"name": "good", "namespace": "bank"}}
        server.faults.add(listed(item, good, item))
        odd, rest = cluster.objects("Secret")
        assert isinstance(odd, Unread)
        assert str(odd.ref) == ref
        assert odd.why.startswith(why)
        assert rest == KubeObject(Ref("Secret", "bank", "good"), good)

    def test_a_single_one_of_another_shape_is_named(self, server: Server, cluster: Cluster) -> None:
        server.faults.add(Answer(200, body='{"metadata": 1}'))
        (odd,) = cluster.objects("Secret", namespace="bank", name="a")
        assert odd == Unread(Ref("Secret", "bank", "a"), "Expected `object`, got `int` - at `$.metadata`")

    def test_null_data_and_a_null_list_are_empty(self, server: Server, cluster: Cluster) -> None:
        server.faults.add(listed({"metadata": {"name": "a", "labels": None}, "data": None}), times=1)
        (found,) = cluster.objects("Secret")
        assert isinstance(found, KubeObject)
        assert found.labels == {}
        server.faults.add(Answer(200, body='{"items": null, "metadata": {}}'))
        assert refs(cluster, "Secret") == []

    def test_ten_megabytes_are_read(self, server: Server, cluster: Cluster) -> None:
        server.faults.add(listed({"metadata": {"name": "a"}, "data": {"big": "QUFB" * 2_500_000}}))
        (found,) = cluster.objects("Secret")
        assert isinstance(found, KubeObject)
        assert len(found.body["data"]["big"]) == 10_000_000


class TestRefused:
    def test_a_refused_list_is_not_an_empty_one(self, server: Server, cluster: Cluster) -> None:
        server.forbid("list", "secrets")
        error = refusal(cluster, "Secret", namespace=HOME)
        assert isinstance(error, NotAllowed)
        assert error.message == 'User "tester" cannot list secrets in namespace "istio-system"'
        assert error.hint.endswith("kubectl auth can-i list secrets -n istio-system")
        assert refusal(cluster, "Secret").message == 'User "tester" cannot list secrets at the cluster scope'

    def test_the_group_and_the_name_are_said(self, server: Server, cluster: Cluster) -> None:
        server.forbid("*", "*")
        assert (
            refusal(cluster, "Deployment").message == 'User "tester" cannot list deployments.apps at the cluster scope'
        )
        error = refusal(cluster, "Secret", namespace=HOME, name="cacerts")
        assert error.message == 'User "tester" cannot get secrets "cacerts" in namespace "istio-system"'
        server.faults.add(Answer(403))  # a real server does not tell who may not ask whether it serves a kind
        error = refusal(cluster, "ClusterTrustBundle", name="x")
        assert 'cannot get clustertrustbundles.certificates.k8s.io "x" at the cluster scope' in error.message

    def test_impersonation_keeps_its_own_words(self, server: Server) -> None:
        server.forbid("impersonate", "users")
        with Cluster(Connection(kubeconfig=str(server.kubeconfig), as_user="jane")) as cluster:
            message = refusal(cluster, "Secret").message
        assert message.startswith('User "tester" cannot list secrets at the cluster scope: ')
        assert 'User "tester" cannot impersonate resource "users"' in message

    def test_a_proxy_that_refuses_is_not_taken_for_the_api_server(self, server: Server, cluster: Cluster) -> None:
        server.faults.add(Answer(403, body="<html>", content_type="text/html"))
        assert refusal(cluster, "Secret").message == "cannot list secrets at the cluster scope: no reason given"

    def test_nobody_is_told_that_no_credentials_were_sent(self, server: Server, cluster: Cluster) -> None:
        body = {"kind": "Status", "message": 'secrets is forbidden: User "system:anonymous" cannot list resource'}
        server.faults.add(Answer(403, body=json.dumps(body)))
        assert refusal(cluster, "Secret").hint == 'no credentials were sent: look at the user of context "sandbox"'

    def test_an_expired_token_ends_everything(self, server: Server) -> None:
        with Cluster(Connection(kubeconfig=str(server.kubeconfig), token="expired")) as cluster:
            error = refusal(cluster, "Secret")
        assert not isinstance(error, Unseen)
        assert error.message == "You must be logged in to the server (Unauthorized)"
        assert 'user "tester" of context "sandbox"' in error.hint


class TestTroubledServer:
    @pytest.mark.parametrize(
        ("fault", "times"),
        [
            (Answer(429, retry_after=0), 4),
            (Answer(500), 1),
            (Answer(502), 1),
            (Answer(503, retry_after=0), 2),
            (Answer(504), 1),
            (Cut(), 1),
            (Cut(0), 1),
            (Reset(), 1),
        ],
        ids=str,
    )
    def test_that_recovers_is_asked_again(self, server: Server, cluster: Cluster, fault: Fault, times: int) -> None:
        server.faults.add(fault, times=times)
        assert "Secret istio-system/istio-ca-secret" in refs(cluster, "Secret")

    @pytest.mark.parametrize(
        ("fault", "tries", "message"),
        [
            (
                Answer(429, retry_after=0),
                6,
                "answered 429 Too Many Requests: Too many requests, please try again later.",
            ),
            (Answer(429, retry_after=3600), 1, "answered 429 Too Many Requests: Too many"),
            (Answer(500), 3, "answered 500 Internal Server Error: Internal error occurred"),
            (Answer(503, retry_after=0), 3, "answered 503 Service Unavailable: the server is currently unable"),
            (Answer(410), 1, "answered 410 Gone: The provided continue parameter is too old"),
            (Answer(400), 1, "answered 400 Bad Request: the server rejected our request"),
            (Answer(599, message="\x1b[31mred\r\nX"), 1, "answered 599: [31mred X"),
            (Reset(), 3, "broke off: "),
            (Cut(), 3, "broke off: the answer was cut short"),
        ],
        ids=str,
    )
    def test_that_does_not_recover_is_unreachable(
        self, server: Server, cluster: Cluster, fault: Fault, tries: int, message: str
    ) -> None:
        before = len(server.requests)
        server.faults.add(fault)
        error = refusal(cluster, "Secret")
        assert isinstance(error, Unreachable)
        assert message in error.message
        assert len(server.requests) - before == tries

    @pytest.mark.parametrize("fault", [Silence(), Slow(bytes=16, pause=0.05)], ids=str)
    def test_that_is_silent_or_slow_is_not_waited_for(self, server: Server, fault: Fault) -> None:
        server.faults.add(fault)
        with Cluster(Connection(kubeconfig=str(server.kubeconfig), request_timeout=0.3)) as cluster:
            error = refusal(cluster, "Secret")
        assert isinstance(error, Unreachable)
        assert error.message.startswith("Unable to connect to the server: no answer from 127.0.0.1:")
        assert error.message.endswith(" within 0.3s")

    def test_that_is_slow_is_waited_for_without_a_limit(self, server: Server) -> None:
        server.faults.add(Slow(bytes=4096, pause=0.05))
        with Cluster(Connection(kubeconfig=str(server.kubeconfig), request_timeout=None)) as cluster:
            assert refs(cluster, "Secret")

    def test_a_thread_is_answered_while_another_waits(self, server: Server, cluster: Cluster) -> None:
        server.faults.add(Answer(429, retry_after=1), times=1, path="*/secrets")
        with ThreadPoolExecutor(32) as threads:
            found = list(threads.map(lambda kind: refs(cluster, kind), ["Secret", *["ConfigMap"] * 64]))
        assert found[0]
        assert all(each == found[1] for each in found[1:])


class TestNotKubernetes:
    @pytest.mark.parametrize(
        ("answer", "what"),
        [
            (Answer(200, body="<html>login</html>", content_type="text/html"), "text/html"),
            (Answer(404, body="<html>nothing</html>", content_type="text/html"), "text/html"),
            (Answer(404, body="404 page not found", content_type="text/plain"), "text/plain"),
            (Answer(200, body='{"status": "ok"}'), "other JSON"),
            (Answer(200, body='{"items": [}'), "other JSON"),
            (Answer(200, body="[]"), "other JSON"),
            (Answer(200, body=""), "other JSON"),
        ],
        ids=str,
    )
    def test_another_server_is_not_an_empty_cluster(
        self, server: Server, cluster: Cluster, answer: Answer, what: str
    ) -> None:
        server.faults.add(answer)
        error = refusal(cluster, "Secret")
        assert isinstance(error, Unreachable)
        assert error.message.startswith("cannot list secrets at the cluster scope: 127.0.0.1:")
        assert error.message.endswith(f" answered with {what}, not as a Kubernetes API server")
        assert error.hint == WRONG

    def test_a_login_page_is_not_an_object(self, server: Server, cluster: Cluster) -> None:
        server.faults.add(Answer(200, body="<html>", content_type="text/html"))
        assert "answered with text/html" in refusal(cluster, "Secret", namespace=HOME, name="cacerts").message

    def test_a_redirect_is_not_followed(self, server: Server, cluster: Cluster) -> None:
        before = len(server.requests)
        server.faults.add(Answer(302, body=""))
        error = refusal(cluster, "Secret")
        assert isinstance(error, Unreachable)
        assert error.message.endswith("answered 302 Found")
        assert error.hint == WRONG
        assert len(server.requests) - before == 1


def test_no_message_quotes_a_body(server: Server, cluster: Cluster) -> None:
    body = '{"kind": "Secret", "metadata": {"name": 5}, "data": {"ca-key.pem": "c2VjcmV0"}, "message": "s3cret"}'
    for code in (200, 400, 403, 404, 500):
        server.faults.clear()
        server.faults.add(Answer(code, body=body, retry_after=0))
        try:
            told = repr(list(cluster.objects("Secret", namespace=HOME, name="cacerts")))
        except ToolError as error:
            told = error.message + error.hint
        assert "c2VjcmV0" not in told
        assert "s3cret" not in told


def test_each_request_is_traced_in_one_line_without_its_token(server: Server) -> None:
    lines: list[str] = []
    with Cluster(Connection(kubeconfig=str(server.kubeconfig)), lines.append) as cluster:
        server.faults.add(Reset(), times=1)
        list(cluster.objects("Pod", labels={"app": "istiod"}))
        list(cluster.objects("Secret", namespace=HOME, name="nope"))
    path = "/api/v1/pods?limit=500&labelSelector=app%3Distiod"
    begins = [f"GET {path} - ", f"GET {path} 200 ", "GET /api/v1/namespaces/istio-system/secrets/nope 404 "]
    assert [line.startswith(begin) and line.endswith(" ms") for line, begin in zip(lines, begins, strict=True)] == [
        True
    ] * 3
    assert server.token not in "".join(lines)


class TestClock:
    @pytest.mark.parametrize("minutes", [-10, 0, 10])
    def test_the_servers_is_compared_with_ours(self, server: Server, cluster: Cluster, minutes: int) -> None:
        server.set_clock_offset(timedelta(minutes=minutes))
        assert cluster.clock_skew is None
        list(cluster.objects("Pod"))
        server.set_clock_offset(timedelta())
        assert cluster.clock_skew is not None
        assert abs(cluster.clock_skew - timedelta(minutes=minutes)) < timedelta(seconds=30)

"""Where a port may not be forwarded: the agent beside the proxy is asked, if that is allowed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from admin import LEDGER, PODS, SECRETS, asked, refusal, unreachable, ways
from asking import MESH
from far_end import Script, Talk, far_end
from meshtrust.cluster import Cluster, Connection
from meshtrust.errors import NotAllowed, Unreachable
from meshtrust.objects import Ref
from sandbox import Answer, Reset, Server, Silence, serve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from meshtrust.source import Source


@pytest.fixture(scope="module")
def running() -> Iterator[Server]:
    with serve(MESH) as server:
        yield server


@pytest.fixture
def server(running: Server) -> Iterator[Server]:
    """One that lets nobody forward ports."""
    running.forbid("create", "pods/portforward")
    yield running
    running.faults.clear()
    running.access.allow_all()


@pytest.fixture
def cluster(server: Server) -> Iterator[Cluster]:
    with Cluster(Connection(kubeconfig=str(server.kubeconfig), request_timeout=5)) as cluster:
        yield cluster


def forbidden(source: Source, pod: Ref = LEDGER) -> NotAllowed:
    error = refusal(asked, source, pod)
    assert isinstance(error, NotAllowed)
    return error


class TestTheAgent:
    @pytest.mark.parametrize("path", ["certs", SECRETS, "server_info"])
    def test_answers_as_the_port_would(self, server: Server, cluster: Cluster, path: str) -> None:
        executed = asked(cluster, path=path)
        server.access.allow_all()
        with Cluster(Connection(kubeconfig=str(server.kubeconfig))) as other:
            assert json.loads(executed) == json.loads(asked(other, path=path))
        assert ways(server)[-1] == "portforward"

    def test_is_run_in_the_container_of_the_proxy(self, server: Server, cluster: Cluster) -> None:
        asked(cluster, path=SECRETS)
        query = server.requests[-1].query
        assert query.getall("command") == ["pilot-agent", "request", "GET", SECRETS]
        assert (query["container"], query["stdout"], query["stderr"]) == ("istio-proxy", "true", "true")
        assert "stdin" not in query

    def test_is_told_of_another_port(self, server: Server, cluster: Cluster) -> None:
        assert unreachable(asked, cluster, port=15001) == "nothing listens at port 15001"
        assert server.requests[-1].query.getall("command")[2] == "--debug-port=15001"

    def test_gives_what_is_not_json_as_it_is(self, cluster: Cluster) -> None:
        assert b"upstream connect error" in asked(cluster, PODS["babbling"])

    def test_says_where_nothing_listens(self, cluster: Cluster) -> None:
        assert unreachable(asked, cluster, PODS["deaf"]) == "nothing listens at port 15000"

    def test_that_ends_half_way_gave_no_answer(self, cluster: Cluster) -> None:
        message = unreachable(asked, cluster, PODS["dying"])
        assert message == "pilot-agent gave no answer: it ended without a word"

    def test_has_the_time_of_the_whole_question(self, server: Server) -> None:
        with Cluster(Connection(kubeconfig=str(server.kubeconfig), request_timeout=0.3)) as cluster:
            assert unreachable(asked, cluster, PODS["mute"]) == "no whole answer from the proxy within 0.3s"

    def test_is_not_there_in_a_ztunnel(self, cluster: Cluster) -> None:
        message = unreachable(asked, cluster, PODS["ztunnel"], "config_dump")
        right = 'create pods/portforward in namespace "istio-system"'
        assert message == f"cannot {right}; for exec there is no pilot-agent in container istio-proxy"

    @pytest.mark.parametrize(
        ("name", "reason"),
        [
            ("done", "cannot exec into a container in a completed pod; current phase is Succeeded"),
            ("young", "pod {} does not have a host assigned"),
        ],
    )
    def test_is_not_run_in_a_pod_that_does_not_run(self, cluster: Cluster, name: str, reason: str) -> None:
        message = unreachable(asked, cluster, PODS[name])
        assert message.endswith(f"answered 400 Bad Request: {reason.format(PODS[name].name)}")

    def test_is_not_run_in_a_container_that_is_not_there(self, cluster: Cluster) -> None:
        message = unreachable(asked, cluster, container="envoy")
        assert message.endswith(f"container envoy is not valid for pod {LEDGER.name}")

    def test_is_not_run_in_a_pod_that_is_gone(self, server: Server, cluster: Cluster) -> None:
        server.faults.add(Answer(403, 'User "tester" cannot create resource "pods/portforward"'), path="*/portforward")
        assert unreachable(asked, cluster, Ref("Pod", "bank", "gone")) == "the pod is not there any more"


class TestWhatTheAgentSays:
    @pytest.fixture
    def saying(self, tmp_path: Path) -> Callable[[Script], bytes]:
        """Ask a far end that refuses to forward, and follows a script when something is executed."""

        def saying(script: Script) -> bytes:
            with far_end(script, refuses="portforward") as end:
                (tmp_path / "empty").write_text("{}")
                with Cluster(Connection(kubeconfig=str(tmp_path / "empty"), server=end.url)) as cluster:
                    return asked(cluster)

        return saying

    @pytest.mark.parametrize(
        ("messages", "reason"),
        [
            (
                [
                    (2, b"Error: received\n"),
                    (2, b"status code 503: no \x1b[0mupstream\n\n"),
                    (3, b'{"message": "exit 1"}'),
                ],
                "status code 503: no [0mupstream",
            ),
            ([(3, b'{"status": "Failure", "message": "command terminated"}')], "command terminated"),
            ([(3, b"nonsense")], "it ended with something that is no Status"),
            ([(1, b"{}"), (2, b"Killed\n")], "Killed"),
        ],
    )
    def test_last_is_its_reason(self, saying: Any, messages: list[tuple[int, bytes]], reason: str) -> None:
        async def script(talk: Talk) -> None:
            for channel, content in messages:
                await talk.say(channel, content)

        assert unreachable(saying, script) == f"pilot-agent gave no answer: {reason}"

    def test_before_the_json_is_left_out(self, saying: Any) -> None:
        async def script(talk: Talk) -> None:
            for channel, content in (
                (1, b""),
                (2, b""),
                (1, b"2026\twarn\tno roots\n{"),
                (2, b"really\n"),
                (1, b"}\n"),
            ):
                await talk.say(channel, content)
            await talk.say(3, b'{"metadata":{},"status":"Success"}')

        assert saying(script) == b"{}\n"


class TestRights:
    @pytest.mark.parametrize(
        ("missing", "who", "named"),
        [("create", "", "create"), ("get", 'User "tester" ', "get"), ("*", 'User "tester" ', "get")],
    )
    def test_that_are_both_missing_are_named_by_the_verb_that_is_wanted(
        self, server: Server, missing: str, who: str, named: str
    ) -> None:
        server.access.allow_all()
        server.forbid(missing, "pods/*", namespace="bank")
        with Cluster(Connection(kubeconfig=str(server.kubeconfig))) as cluster:
            error = forbidden(cluster)
        assert error.message == f'{who}cannot {named} pods/portforward in namespace "bank", nor {named} pods/exec'
        assert error.hint.endswith(f"kubectl auth can-i {named} pods --subresource=portforward -n bank")

    def test_that_are_missing_are_asked_for_once_in_a_namespace(self, server: Server, cluster: Cluster) -> None:
        server.forbid("create", "pods/exec", namespace="bank")
        before = len(server.requests)
        assert str(forbidden(cluster)) == str(forbidden(cluster, Ref("Pod", "bank", "another")))
        assert ways(server, before) == ["portforward", "exec"]
        asked(cluster, PODS["web"])
        asked(cluster, PODS["web"])
        assert ways(server, before) == ["portforward", "exec", "portforward", "exec", "exec"]

    def test_of_another_kind_are_quoted_and_asked_for_again(self, server: Server, cluster: Cluster) -> None:
        server.faults.add(Answer(403, "admission webhook said no"), path="*/pods/*")
        before = len(server.requests)
        message = forbidden(cluster).message
        assert message == str(forbidden(cluster))
        assert message == (
            'cannot get pods/portforward in namespace "bank": admission webhook said no; '
            'cannot get pods/exec in namespace "bank": admission webhook said no'
        )
        assert ways(server, before) == ["portforward", "exec"] * 2

    def test_to_impersonate_are_missing_for_both(self, server: Server) -> None:
        server.forbid("impersonate", "users")
        with Cluster(Connection(kubeconfig=str(server.kubeconfig), as_user="jane")) as cluster:
            assert 'User "tester" cannot impersonate resource "users"' in forbidden(cluster).message


class TestFaultsOfTheApiServer:
    @pytest.mark.parametrize("fault", [Reset(), Answer(500), Answer(503), Answer(429, retry_after=0)], ids=repr)
    def test_that_happens_once_is_overcome(self, server: Server, cluster: Cluster, fault: Any) -> None:
        server.faults.add(fault, path="*/exec", times=1)
        before = len(server.requests)
        assert asked(cluster)
        assert ways(server, before) == ["portforward", "exec", "exec"]

    @pytest.mark.parametrize("fault", [Answer(500), Answer(503), Answer(404), Reset()], ids=repr)
    def test_that_lasts_is_told(self, server: Server, cluster: Cluster, fault: Any) -> None:
        server.faults.add(fault, path="*/exec")
        error = refusal(asked, cluster)
        assert isinstance(error, Unreachable)
        assert server.url[8:] in error.message

    def test_silence_ends_with_the_time(self, server: Server) -> None:
        server.faults.add(Silence(), path="*/exec")
        with Cluster(Connection(kubeconfig=str(server.kubeconfig), request_timeout=0.3)) as cluster:
            assert unreachable(asked, cluster) == "no whole answer from the proxy within 0.3s"


def test_each_request_is_traced_in_one_line(server: Server) -> None:
    lines: list[str] = []
    with Cluster(Connection(kubeconfig=str(server.kubeconfig)), lines.append) as cluster:
        asked(cluster)
    pod = f"GET /api/v1/namespaces/bank/pods/{LEDGER.name}"
    words = (
        "container=istio-proxy&stdout=true&stderr=true&command=pilot-agent&command=request&command=GET&command=certs"
    )
    assert [line.rsplit(" ", 2)[0] for line in lines] == [
        f"{pod}/portforward?ports=15000 403",
        f"{pod}/exec?{words} 101 /certs",
    ]

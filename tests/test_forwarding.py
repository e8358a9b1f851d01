"""The admin interface of a proxy through a forwarded port: what comes through, and what does not."""

from __future__ import annotations

import asyncio
import base64
import gc
import hashlib
import json
import re
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from admin import LEDGER, PODS, SECRETS, asked, refusal, unreachable, ways
from asking import MESH
from far_end import PORT, Script, Talk, answering, far_end
from meshtrust.cluster import Cluster, Connection
from meshtrust.errors import NotAllowed, Unreachable
from meshtrust.objects import Ref
from sandbox import Answer, Reset, Server, Silence, serve
from test_connections import talker
from test_sandbox_faults import threads_and_files

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator
    from pathlib import Path

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455
WHOLE = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


@pytest.fixture(scope="module")
def running() -> Iterator[Server]:
    with serve(MESH) as server:
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


@pytest.fixture
def quick(server: Server) -> Iterator[Cluster]:
    with Cluster(Connection(kubeconfig=str(server.kubeconfig), request_timeout=0.3)) as cluster:
        yield cluster


@pytest.fixture
def through(tmp_path: Path) -> Callable[..., bytes]:
    """Ask for `certs` through a far end that follows a script."""

    def through(script: Script, timeout: float = 5, path: str = "") -> bytes:
        (tmp_path / "empty").write_text("{}")
        with far_end(script) as end:
            through.end = end  # type: ignore[attr-defined]
            connection = Connection(kubeconfig=str(tmp_path / "empty"), server=end.url + path, request_timeout=timeout)
            with Cluster(connection) as cluster:
                return asked(cluster)

    return through


class TestAnswers:
    def test_an_envoy_and_a_ztunnel_answer(self, cluster: Cluster) -> None:
        assert json.loads(asked(cluster))["certificates"]
        (secrets,) = json.loads(asked(cluster, path=SECRETS))["configs"]
        assert [secret["name"] for secret in secrets["dynamic_active_secrets"]] == ["default", "ROOTCA"]
        assert json.loads(asked(cluster, PODS["ztunnel"], "config_dump"))["certificates"]

    @pytest.mark.parametrize("piece", [1, 7, 4096])
    @pytest.mark.parametrize(
        ("response", "body"),
        [
            (WHOLE, b"{}"),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1\r\n}\r\n0\r\n\r\n", b"{}"),
            (b"HTTP/1.1 200 OK\r\n\r\n{}", b"{}"),
            (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b""),
        ],
        ids=["length", "chunks", "close", "empty"],
    )
    def test_is_whole_however_it_is_cut(
        self, through: Callable[..., bytes], response: bytes, body: bytes, piece: int
    ) -> None:
        assert through(answering(response, piece)) == body

    def test_is_asked_for_as_http_has_it(self, through: Any) -> None:
        through(answering(WHOLE))
        (talk,) = through.end.talks
        first, *headers = talk.asked.decode().split("\r\n")
        assert first == "GET /certs HTTP/1.1"
        assert {"Host: localhost", "Connection: close", "Accept-Encoding: identity"} <= set(headers)
        assert talk.raw.path_qs == f"/api/v1/namespaces/bank/pods/{LEDGER.name}/portforward?ports=15000"

    def test_is_asked_for_behind_the_path_of_the_server(self, through: Any) -> None:
        assert through(answering(WHOLE), path="/k8s/clusters/c-1") == b"{}"
        (talk,) = through.end.talks
        assert talk.raw.path.startswith("/k8s/clusters/c-1/api/v1/namespaces/bank/pods/")

    def test_may_come_with_the_number_of_the_port_among_pings(self, through: Callable[..., bytes]) -> None:
        async def script(talk: Talk) -> None:
            await talk.say(1, PORT)
            await talk.say(0, PORT + WHOLE[:10])
            await talk.websocket.ping(b"still there?")
            await talk.say(1, b"")
            await talk.websocket.send_bytes(b"")
            await talk.say(0, WHOLE[10:])

        assert through(script) == b"{}"

    def test_may_be_long(self, through: Callable[..., bytes]) -> None:
        body = b"x" * (20 << 20)
        head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)
        assert through(answering(head + body, 32 << 10), timeout=60) == body

    def test_that_is_not_json_is_given_as_it_is(self, cluster: Cluster) -> None:
        assert asked(cluster, PODS["babbling"]).startswith(b"upstream connect error")

    def test_a_port_may_be_another_one(self, server: Server, cluster: Cluster) -> None:
        assert unreachable(asked, cluster, port=15021) == "nothing listens at port 15021"
        assert server.requests[-1].query["ports"] == "15021"


class TestProxiesThatDoNotAnswer:
    def test_nothing_listens(self, cluster: Cluster) -> None:
        assert unreachable(asked, cluster, PODS["deaf"]) == "nothing listens at port 15000"

    def test_none_within_the_time(self, quick: Cluster) -> None:
        assert unreachable(asked, quick, PODS["mute"]) == "no whole answer from the proxy within 0.3s"

    def test_the_time_is_for_all_of_it(self, through: Callable[..., bytes]) -> None:
        async def drip(talk: Talk) -> None:
            await talk.open_port()
            for byte in WHOLE:
                await talk.say(0, bytes([byte]))
                await asyncio.sleep(0.05)

        assert unreachable(through, drip, timeout=0.3) == "no whole answer from the proxy within 0.3s"

    def test_half_a_body(self, cluster: Cluster) -> None:
        assert unreachable(asked, cluster, PODS["dying"], SECRETS) == "the proxy gave only a part of config_dump"

    @pytest.mark.parametrize(
        ("response", "message"),
        [
            (b"", "the proxy closed the connection without an answer"),
            (WHOLE[:-1], "the proxy gave only a part of certs"),
            (WHOLE[:30], "the proxy gave only a part of certs"),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{", "the proxy gave only a part of certs"),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz", "the proxy gave only a part of certs"),
            (b"HTTP/1.1 503 Service Unavailable\r\n\r\n", "the proxy answered 503 Service Unavailable to certs"),
            (b"HTTP/1.1 302 Found\r\nLocation: http://x/\r\n\r\n", "the proxy answered 302 Found to certs"),
            (b"HTTP/1.1 299 \r\n\r\n", "the proxy answered 299 to certs"),
            (b"\x15\x03\x01\x00\x02\x02\x46\r\n", "what listens at port 15000 does not speak HTTP"),
            (b"HTTP/1.1 two hundred\r\n\r\n", "what listens at port 15000 does not speak HTTP"),
            (b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 200, "what listens at port 15000 does not speak HTTP"),
            (
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\n",
                "what listens at port 15000 does not speak HTTP",
            ),
            (
                b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n",
                "the answer of the proxy is larger than 64 MiB",
            ),
            (
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffff\r\n",
                "the proxy gave only a part of certs",
            ),
        ],
    )
    def test_a_bad_answer_is_told_from_a_good_one(
        self, through: Callable[..., bytes], response: bytes, message: str
    ) -> None:
        assert unreachable(through, answering(response)) == message

    def test_an_unknown_page_is_no_answer(self, cluster: Cluster) -> None:
        message = unreachable(asked, cluster, PODS["ztunnel"])
        assert message == "the proxy answered 404 Not Found to certs"

    def test_one_that_never_ends_is_left(self, through: Callable[..., bytes]) -> None:
        async def pour(talk: Talk) -> None:
            await talk.open_port()
            await talk.say(0, b"HTTP/1.1 200 OK\r\n\r\n")
            while True:
                await talk.say(0, b"x" * (1 << 20))

        assert unreachable(through, pour, timeout=60) == "the answer of the proxy is larger than 64 MiB"

    def test_what_kubelet_says_is_quoted_on_one_line(self, through: Callable[..., bytes]) -> None:
        async def script(talk: Talk) -> None:
            await talk.say(0, PORT)
            await talk.say(1, PORT + b"error forwarding port 15000:\n\tno such \x1b[31mcontainer")

        message = "port 15000 cannot be forwarded: error forwarding port 15000: no such [31mcontainer"
        assert unreachable(through, script) == message


class TestConnectionsThatBreak:
    def test_in_the_middle_are_tried_again(self, through: Any) -> None:
        async def script(talk: Talk) -> None:
            await talk.open_port()
            if len(through.end.talks) == 1:
                talk.reset()
            await talk.say(0, WHOLE)

        assert through(script) == b"{}"

    def test_every_time_are_told(self, through: Any) -> None:
        async def script(talk: Talk) -> None:
            await talk.open_port()
            await talk.say(0, WHOLE[:-1])
            talk.reset()

        assert "broke off" in unreachable(through, script)
        assert len(through.end.talks) == 3

    def test_what_is_no_websocket_is_told(self, through: Any) -> None:
        async def script(talk: Talk) -> None:
            await talk.open_port()
            assert talk.raw.transport is not None
            talk.raw.transport.write(b"\xff\0")
            await talk.websocket.receive()

        assert "broke off" in unreachable(through, script)

    def test_what_closes_as_it_switches_is_told(self, tmp_path: Path) -> None:
        def switch(peer: socket.socket, _: threading.Event) -> None:
            key = re.search(rb"(?i)sec-websocket-key: (\S+)", peer.recv(1 << 16))
            assert key
            accept = base64.b64encode(hashlib.sha1(key[1] + GUID, usedforsecurity=False).digest())
            head = b"HTTP/1.1 101 Switching Protocols\r\nConnection: close\r\nSec-WebSocket-Accept: "
            peer.sendall(head + accept + b"\r\n\r\n")

        (tmp_path / "empty").write_text("{}")
        with (
            talker(switch) as address,
            Cluster(Connection(kubeconfig=str(tmp_path / "empty"), server=f"http://{address}")) as cluster,
        ):
            assert "broke off" in unreachable(asked, cluster)

    def test_another_key_is_no_websocket(self, server: Server, cluster: Cluster) -> None:
        server.faults.add(Answer(101, body=""))
        assert "broke off" in unreachable(asked, cluster)


class TestFaultsOfTheApiServer:
    @pytest.mark.parametrize(
        "fault", [Reset(), Answer(500), Answer(503), Answer(504), Answer(429, retry_after=0)], ids=repr
    )
    def test_that_happens_once_is_overcome(self, server: Server, cluster: Cluster, fault: Any) -> None:
        server.faults.add(fault, path="*/portforward", times=1)
        before = len(server.requests)
        assert asked(cluster)
        assert ways(server, before) == ["portforward", "portforward"]

    def test_a_long_wait_is_not_begun(self, server: Server, cluster: Cluster) -> None:
        server.faults.add(Answer(429, retry_after=20), path="*/portforward")
        message = unreachable(asked, cluster)
        assert message.startswith(f"cannot forward a port: {server.url[8:]} answered 429 Too Many Requests: Too many ")

    @pytest.mark.parametrize(
        ("fault", "message"),
        [
            (
                Answer(500, "error dialing backend: dial tcp 10.0.0.9:10250: i/o timeout"),
                "answered 500 Internal Server Error: error dialing backend: dial tcp 10.0.0.9:10250: i/o timeout",
            ),
            (Answer(503, body="<html>", content_type="text/html"), "answered 503 Service Unavailable"),
            (Answer(302, body=""), "answered 302 Found"),
            (
                Answer(200, body="<html>", content_type="text/html"),
                "answered with text/html, not as a Kubernetes API server",
            ),
            (
                Answer(404, body="404 page not found", content_type="text/plain"),
                "answered with text/plain, not as a Kubernetes API server",
            ),
            (Answer(404), "answered 404 Not Found: the server could not find the requested resource"),
            (Answer(400, "Upgrade request required"), "answered 400 Bad Request: Upgrade request required"),
        ],
        ids=repr,
    )
    def test_that_lasts_is_told(self, server: Server, cluster: Cluster, fault: Answer, message: str) -> None:
        server.faults.add(fault, path="*/portforward")
        assert unreachable(asked, cluster) == f"cannot forward a port: {server.url[8:]} {message}"

    def test_a_reset_each_time_is_told(self, server: Server, cluster: Cluster) -> None:
        server.faults.add(Reset(), path="*/portforward")
        assert "broke off" in unreachable(asked, cluster)

    def test_silence_ends_with_the_time(self, server: Server, quick: Cluster) -> None:
        server.faults.add(Silence(), path="*/portforward")
        assert unreachable(asked, quick) == "no whole answer from the proxy within 0.3s"

    def test_credentials_that_are_not_known_are_nobodys_fault(self, server: Server, cluster: Cluster) -> None:
        server.faults.add(Answer(401), path="*/portforward")
        error = refusal(asked, cluster)
        assert error.message == "You must be logged in to the server (Unauthorized)"
        assert not isinstance(error, NotAllowed | Unreachable)

    def test_a_pod_that_is_gone_is_said_to_be(self, cluster: Cluster) -> None:
        assert unreachable(asked, cluster, Ref("Pod", "bank", "gone")) == "the pod is not there any more"

    def test_a_pod_that_does_not_run_yet_is_told(self, cluster: Cluster) -> None:
        message = unreachable(asked, cluster, PODS["young"])
        assert message.endswith(f"answered 400 Bad Request: pod {PODS['young'].name} does not have a host assigned")


class TestManyAtOnce:
    def test_leave_nothing_behind(self, server: Server) -> None:
        asked_for = [PODS[name] for name in ("ledger", "web", "deaf", "dying", "babbling", "young")] * 84
        before = threads_and_files()
        with Cluster(Connection(kubeconfig=str(server.kubeconfig), request_timeout=30)) as cluster:

            def ask(pod: Ref) -> str:
                try:
                    return str(len(asked(cluster, pod)))
                except Unreachable as error:
                    return error.message

            with ThreadPoolExecutor(64) as pool:
                answers = list(pool.map(ask, asked_for))
            one = [ask(pod) for pod in asked_for[:6]]
        assert answers == one * 84
        for _ in range(300):  # the server runs in this process, and closes its ends in its own time
            if threads_and_files() <= before:
                break
            gc.collect()
            threading.Event().wait(0.05)
        threads, files = threads_and_files()
        assert (threads <= before[0], files <= before[1]) == (True, True)

    @pytest.mark.parametrize("hangs", ["proxy", "server"])
    def test_are_all_ended_by_closing(self, server: Server, hangs: str) -> None:
        if hangs == "server":
            server.faults.add(Silence(), path="*/portforward")
        before = len(server.requests)
        cluster = Cluster(Connection(kubeconfig=str(server.kubeconfig), request_timeout=None))
        with ThreadPoolExecutor(8) as pool:
            waiting = [pool.submit(unreachable, asked, cluster, PODS["mute"]) for _ in range(8)]
            while len(ways(server, before)) < 8:
                threading.Event().wait(0.01)
            cluster.close()
            assert {one.result() for one in waiting} == {"given up: the program ends"}

    def test_are_ended_by_ctrl_c(self, server: Server) -> None:
        before = len(server.requests)
        code = """
import signal, sys
from concurrent.futures import ThreadPoolExecutor
from meshtrust.cluster import Cluster, Connection
from meshtrust.objects import Ref
signal.signal(signal.SIGINT, signal.default_int_handler)  # also where the tests run in the background of a shell
with Cluster(Connection(kubeconfig=sys.argv[1], request_timeout=None)) as cluster:
    pod, pool = Ref(*sys.argv[2:]), ThreadPoolExecutor(8)
    ask = lambda _: cluster.proxy_admin(pod, "certs", port=15000, container="istio-proxy")
    try:
        list(pool.map(ask, range(8)))
    except KeyboardInterrupt:
        print("interrupted")
"""
        mute = PODS["mute"]
        command = [sys.executable, "-c", code, server.kubeconfig, mute.kind, mute.namespace, mute.name]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
            while len(ways(server, before)) < 8:
                threading.Event().wait(0.01)
            running.send_signal(signal.SIGINT)
            assert running.communicate(timeout=60)[0] == "interrupted\n"


def test_each_question_is_traced_in_one_line(server: Server) -> None:
    lines: list[str] = []
    with Cluster(Connection(kubeconfig=str(server.kubeconfig)), lines.append) as cluster:
        asked(cluster, path=SECRETS)
        unreachable(asked, cluster, PODS["young"])
    url = "GET /api/v1/namespaces/{0.namespace}/pods/{0.name}/portforward?ports=15000"
    assert [line.rsplit(" ", 2)[0] for line in lines] == [
        f"{url.format(LEDGER)} 101 /config_dump",
        f"{url.format(PODS['young'])} 400",
    ]
    assert all(line.endswith(" ms") for line in lines)

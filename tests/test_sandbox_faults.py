"""Faults of the sandbox: what a request meets instead of its answer, and what is left of a server."""

from __future__ import annotations

import gc
import threading
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest
import urllib3

from asking import MESH, Asking, connected
from sandbox import Answer, Cut, Reset, Server, Silence, Slow, serve


def test_the_date_header_is_the_servers_clock(server: Server, ask: Asking) -> None:
    server.set_clock_offset(timedelta(hours=5))
    told = parsedate_to_datetime(ask("/version").headers["Date"])
    assert timedelta(hours=4, minutes=55) < told - datetime.now(UTC) < timedelta(hours=5, minutes=5)


@pytest.mark.parametrize("code", [401, 403, 404, 409, 410, 429, 500, 503])
def test_a_fault_answers_with_a_status(server: Server, ask: Asking, code: int) -> None:
    server.faults.add(Answer(code, retry_after=7), path="*/secrets", times=1)
    refused, answered = ask("/api/v1/secrets"), ask("/api/v1/secrets")
    assert (refused.status, refused.json()["code"], refused.headers["Retry-After"]) == (code, code, "7")
    assert answered.status == 200


def test_a_fault_can_wait_for_the_second_page(server: Server, ask: Asking) -> None:
    server.faults.add(Answer(500), path="*/configmaps", query={"continue": "?*"})
    first, second, *_ = ask.pages("/api/v1/configmaps")
    assert (len(first["items"]), second["code"]) == (2, 500)


def test_a_fault_can_be_any_text(server: Server, ask: Asking) -> None:
    server.faults.add(Answer(200, body="<html>a proxy</html>", content_type="text/html"))
    assert ask("/api/v1/secrets").data == b"<html>a proxy</html>"


def test_a_cut_body_ends_in_the_middle(server: Server, ask: Asking) -> None:
    server.faults.add(Cut(0.5))
    response = ask("/api/v1/secrets", preload_content=False)
    length = int(response.headers["Content-Length"])
    with pytest.raises(urllib3.exceptions.ProtocolError, match=rf"IncompleteRead\({length // 2} bytes read"):
        response.read()


def test_a_reset_is_no_answer(server: Server, ask: Asking) -> None:
    server.faults.add(Reset())
    with pytest.raises(urllib3.exceptions.ProtocolError):
        ask("/api/v1/secrets")
    assert [request.path for request in server.requests] == ["/api/v1/secrets"]


def test_silence_lasts_until_the_client_gives_up(server: Server, ask: Asking) -> None:
    server.faults.add(Silence(), times=1)
    with pytest.raises(urllib3.exceptions.ReadTimeoutError):
        ask("/api/v1/secrets", timeout=0.2)
    assert ask("/api/v1/secrets").status == 200


def test_slow_bytes_arrive_whole(server: Server, ask: Asking) -> None:
    whole = ask("/api/v1/secrets").data
    server.faults.add(Slow(bytes=1000, pause=0.001))
    assert ask("/api/v1/secrets").data == whole


def test_a_server_ends_while_requests_hang() -> None:
    met: list[Exception] = []

    def hang() -> None:
        try:
            ask("/api/v1/secrets")
        except urllib3.exceptions.ProtocolError as error:
            met.append(error)

    with serve(MESH) as server, connected(server) as ask:
        server.faults.add(Silence())
        hanging = threading.Thread(target=hang)
        hanging.start()
        while hanging.is_alive() and not server.requests:
            hanging.join(0.01)
    hanging.join()
    assert len(met) == 1


def threads_and_files() -> tuple[int, int]:
    gc.collect()
    return threading.active_count(), len(list(Path("/dev/fd").iterdir()))


def test_nothing_is_left_of_a_server() -> None:
    before = threads_and_files()
    with serve(MESH) as server, connected(server) as ask:
        ask("/api/v1/secrets")
        folder = server.folder
    assert threads_and_files() == before
    assert not folder.exists()

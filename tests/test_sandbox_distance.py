"""A sandbox that is far away is the same one, later."""

from __future__ import annotations

import time

from asking import MESH, connected
from sandbox import serve
from sandbox.distance import far
from test_sandbox_faults import threads_and_files


def test_whatever_goes_to_a_far_server_arrives_whole_and_late() -> None:
    before = threads_and_files()
    with serve(MESH) as server:
        with connected(server) as ask:
            near = ask("/api/v1/secrets").data
        with far(server.url, 0.05) as server.url, connected(server) as ask:
            begin = time.monotonic()
            assert ask("/api/v1/secrets").data == near
            # TCP, TLS, the request: at least three times there and back.
            assert time.monotonic() - begin >= 0.15
    assert threads_and_files() == before

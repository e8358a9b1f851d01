"""A sandbox for a test, and who asks it: of its own where it changes something, a standing one where it only reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from asking import MESH, Asking, connected
from sandbox import Server, serve

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def server() -> Iterator[Server]:
    with serve(MESH) as server:
        yield server


@pytest.fixture
def ask(server: Server) -> Iterator[Asking]:
    with connected(server) as ask:
        yield ask


@pytest.fixture(scope="module")
def standing() -> Iterator[Server]:
    with serve(MESH) as server:
        yield server


@pytest.fixture
def read(standing: Server) -> Iterator[Asking]:
    with connected(standing) as ask:
        yield ask

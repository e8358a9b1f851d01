"""One ground with one mesh for all tests of this folder; what it could leave on the machine is compared at the end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cluster.footprint import footprint
from cluster.ground import Ground, ground
from cluster.mesh import Mesh
from cluster.plugins import Plugin

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def kubernetes() -> Iterator[Ground]:
    before = footprint()
    with ground() as running:
        yield running
        traces = running.traces()
    assert traces.left() == ()
    assert before.changes(footprint()) == {}


@pytest.fixture(scope="session")
def mesh(kubernetes: Ground) -> Mesh:
    installed = Mesh(kubernetes)
    installed.install()
    return installed


@pytest.fixture
def expiry(mesh: Mesh, tmp_path: Path) -> Plugin:
    return Plugin(mesh.ground, "istio_root", "expiry", tmp_path)


@pytest.fixture
def certverify(mesh: Mesh, tmp_path: Path) -> Plugin:
    return Plugin(mesh.ground, "istio_certverify", "", tmp_path)


@pytest.fixture
def proxyver(mesh: Mesh, tmp_path: Path) -> Plugin:
    return Plugin(mesh.ground, "istio_proxyver", "", tmp_path)

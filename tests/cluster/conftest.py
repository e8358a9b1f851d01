"""One ground with one mesh for all tests of this folder; what it could leave on the machine is compared at the end."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from cluster.footprint import footprint
from cluster.ground import Ground, ground
from cluster.mesh import Mesh
from cluster.plugins import Plugin
from releasing import PLUGINS, built

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


@pytest.fixture(scope="session")
def dist(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a release would be, as the tests of the binary use it; copied, as those may build it anew meanwhile."""
    made, folder = built(pytestconfig.cache), tmp_path_factory.mktemp("dist")
    for plugin in PLUGINS:
        shutil.copy(made / f"kubectl-{plugin}", folder)
    return folder


@pytest.fixture
def expiry(mesh: Mesh, dist: Path, tmp_path: Path) -> Plugin:
    return Plugin(mesh.ground, dist, "istio_root", "expiry", tmp_path)


@pytest.fixture
def certverify(mesh: Mesh, dist: Path, tmp_path: Path) -> Plugin:
    return Plugin(mesh.ground, dist, "istio_certverify", "", tmp_path)


@pytest.fixture
def proxyver(mesh: Mesh, dist: Path, tmp_path: Path) -> Plugin:
    return Plugin(mesh.ground, dist, "istio_proxyver", "", tmp_path)


@pytest.fixture
def transition(mesh: Mesh, dist: Path, tmp_path: Path) -> Plugin:
    return Plugin(mesh.ground, dist, "istio_root", "transition", tmp_path)


@pytest.fixture
def restore(mesh: Mesh, dist: Path, tmp_path: Path) -> Plugin:
    return Plugin(mesh.ground, dist, "istio_root", "restore", tmp_path)

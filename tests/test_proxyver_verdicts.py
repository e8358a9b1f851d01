"""Every mesh of `proxy_meshes` gets its verdict, and the same whether it is read from a recording or from a server."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import pytest

from istio_proxyver.inventory import report
from istio_proxyver.support import read_support
from judging import levels
from meshes import NOW
from meshtrust.cluster import Cluster, Connection
from meshtrust.manifests import Recording
from meshtrust.reading import Reading
from meshtrust.render import Output, render
from meshtrust.source import Scope
from proxy_meshes import CASES, dump
from sandbox.server import serve

if TYPE_CHECKING:
    from pathlib import Path

    from meshtrust.report import Report
    from meshtrust.source import Source
    from sandbox import Mesh


def judged(source: Source, *, selector: str = "", **scope: Any) -> Report:
    return report(Reading(source, Scope(**scope), NOW, ()), selector, None, "version", read_support(""))


def recorded(mesh: Mesh, folder: Path, **asked: Any) -> Report:
    return judged(Recording.read([str(dump(mesh, folder / "mesh.json"))], io.BytesIO()), **asked)


@pytest.mark.parametrize("name", CASES)
def test_a_recorded_mesh_gets_its_verdict(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    found = recorded(case.mesh, tmp_path)
    assert (str(found.status), levels(found)) == (case.status, dict(case.findings)), render(found, Output.TABLE)


@pytest.mark.parametrize("name", CASES)
def test_a_live_mesh_gives_the_same_report_as_its_recording(name: str, tmp_path: Path) -> None:
    mesh = CASES[name].mesh
    with serve(mesh) as server, Cluster(Connection(kubeconfig=str(server.kubeconfig))) as cluster:
        live = judged(cluster)
    kept = recorded(mesh, tmp_path)
    told = [(one.check.id, one.level, one.problems, {gap.ref for gap in one.unseen}) for one in live.findings]
    assert told == [(one.check.id, one.level, one.problems, {gap.ref for gap in one.unseen}) for one in kept.findings]
    assert (live.rows, live.remarks, live.table, live.wide, live.summary, live.commands) == (
        kept.rows,
        kept.remarks,
        kept.table,
        kept.wide,
        kept.summary,
        kept.commands,
    )

"""Every mesh of `verified_meshes` gets its verdict, from an API server and from a recording alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sandbox.server import serve
from verified_meshes import CASES
from verifying import levels, live, recorded

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("name", CASES)
def test_a_mesh_gets_its_verdict(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    found = recorded(case.mesh, tmp_path)
    wanted = {check: level for check, level in case.findings.items() if level != "ok"}
    assert (str(found.status), levels(found)) == (case.status, wanted)


@pytest.mark.parametrize("name", CASES)
def test_an_object_is_named_once(name: str, tmp_path: Path) -> None:
    found = recorded(CASES[name].mesh, tmp_path)
    named = [problem.place for finding in found.findings for problem in finding.problems]
    assert len(named) == len(set(named))


@pytest.mark.parametrize("name", [name for name in CASES if name != "refused"])
def test_a_living_mesh_gets_the_same_report(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    with serve(case.mesh) as server:
        seen = live(server)
    read = recorded(case.mesh, tmp_path)
    assert (seen.rows, seen.status, levels(seen)) == (read.rows, read.status, levels(read))
    assert (seen.table, seen.remarks, seen.commands) == (read.table, read.remarks, read.commands)

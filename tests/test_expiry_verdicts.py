"""Every mesh of `meshes` gets its verdict, and the same whether it is read from a recording or from an API server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from judging import levels, live, recorded
from meshes import CASES
from meshtrust.render import Output, render
from sandbox.server import serve

if TYPE_CHECKING:
    from pathlib import Path

    from meshtrust.report import Report


@pytest.mark.parametrize("name", CASES)
def test_a_recorded_mesh_gets_its_verdict(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    found = recorded(case.mesh, tmp_path)
    assert (str(found.status), levels(found)) == (case.status, dict(case.findings)), render(found, Output.TABLE)


@pytest.mark.parametrize("name", CASES)
def test_a_live_mesh_gives_the_same_report_as_its_recording(name: str, tmp_path: Path) -> None:
    mesh = CASES[name].mesh
    with serve(mesh) as server:
        found = live(server)
    kept = recorded(mesh, tmp_path)
    # A recording cannot be asked for the server's clock; all else is equal.
    answered_by_both = tuple(finding for finding in found.findings if finding.check.id not in kept.not_asked)
    assert (found.rows, answered_by_both, found.remarks) == (kept.rows, kept.findings, kept.remarks)
    assert found.status == kept.status


def hints_to_transition(found: Report) -> set[str]:
    """The checks whose hints name the verb."""
    return {
        one.check.id for one in found.findings if any("kubectl istio-root transition" in hint for hint in one.hints)
    }


@pytest.mark.parametrize(
    ("name", "ids"),
    [
        ("root-expired", {"signer-valid"}),
        ("root-20-days", {"root-lasts", "renewal-done"}),
        ("secret-edited-not-loaded", {"ca-loaded"}),
        ("renewal-overdue", {"renewal-done"}),
        ("renewal-changes-the-identifier", {"renewal-harmless"}),
    ],
)
def test_what_a_new_edition_of_the_root_mends_is_sent_to_the_transition(
    name: str, ids: set[str], tmp_path: Path
) -> None:
    assert hints_to_transition(recorded(CASES[name].mesh, tmp_path)) == ids


@pytest.mark.parametrize("name", CASES)
def test_nobody_is_sent_to_the_transition_whose_ca_is_not_self_signed(name: str, tmp_path: Path) -> None:
    found = recorded(CASES[name].mesh, tmp_path)
    if not any("signs with the self-signed CA" in remark for remark in found.remarks):
        assert hints_to_transition(found) == set()

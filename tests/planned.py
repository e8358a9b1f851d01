"""Plans of a change without a command line: of a mesh that is served, and of its recording."""

from __future__ import annotations

import io
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from changed_meshes import TRANSITION
from istio_root.transition.changing import change
from meshes import NOW
from meshtrust.cluster import Cluster, Connection
from meshtrust.manifests import Recording
from meshtrust.reading import Reading
from meshtrust.source import Scope
from verified_meshes import dump

if TYPE_CHECKING:
    from pathlib import Path

    from istio_root.transition.wish import Wish
    from meshtrust.report import Report
    from sandbox import Mesh
    from sandbox.server import Server

_OF_A_RUN = re.compile(r"(?:[0-9a-f]{2}:){7}[0-9a-f]{2}|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


def live(server: Server, wish: Wish = TRANSITION, *, home: str = "", request_timeout: float = 10.0) -> Report:
    connection = Connection(kubeconfig=str(server.kubeconfig), request_timeout=request_timeout)
    now = datetime.now(UTC) if wish.emit else NOW  # a patch is made now, and the meshes are older by then
    with Cluster(connection) as cluster:
        return change(Reading(cluster, Scope(istio_namespace=home), now, ()), wish)


def recorded(mesh: Mesh, folder: Path, wish: Wish = TRANSITION, *, home: str = "") -> Report:
    return read(dump(mesh, folder / "mesh.json"), wish, home=home)


def read(path: Path, wish: Wish = TRANSITION, *, home: str = "") -> Report:
    recording = Recording.read([str(path)], io.BytesIO())
    return change(Reading(recording, Scope(istio_namespace=home), NOW, ()), wish)


def levels(found: Report) -> dict[str, str]:
    """Every check that is not ok."""
    return {finding.check.id: str(finding.level) for finding in found.findings if finding.level}


def acts(found: Report) -> tuple[str, ...]:
    return tuple(row["step"] for row in found.rows)


def steps(found: Report) -> list[tuple[str, str]]:
    return [(row["step"], row["place"]) for row in found.rows]


def problems(found: Report) -> list[tuple[str, str, str]]:
    """Level, place and detail of each, without what is another in every run: fingerprints of a new root, seconds."""
    return [
        (str(finding.level_of(problem)), str(problem.place), _OF_A_RUN.sub("…", problem.detail))
        for finding in found.findings
        for problem in finding.problems
    ]


def unseen(found: Report) -> set[str]:
    return {gap.why for finding in found.findings for gap in finding.unseen}


def writes(server: Server) -> list[str]:
    """Every request that could have changed something."""
    harmless = ("/selfsubjectaccessreviews", "/portforward", "/exec")
    return [
        f"{request.method} {request.path}"
        for request in server.requests
        if request.method != "GET" and not request.path.endswith(harmless)
    ]

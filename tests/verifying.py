"""Judging the meshes of `verified_meshes` without a command line."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from istio_certverify.saying import say
from meshes import NOW
from meshtrust.cluster import Cluster, Connection
from meshtrust.manifests import Recording
from meshtrust.reading import Reading
from meshtrust.source import Scope
from meshtrust.verification.fleet import Targets
from meshtrust.verification.verifying import Wish, verify
from verified_meshes import dump

if TYPE_CHECKING:
    from pathlib import Path

    from meshtrust.report import Report
    from meshtrust.source import Source
    from sandbox import Mesh
    from sandbox.server import Server


def verified(source: Source, *targets: str, scope: Scope | None = None, **wish: Any) -> Report:
    wanted = Wish(**({"stored": True, "live": True, "targets": Targets.read(targets)} | wish))
    return say(verify(Reading(source, scope or Scope(), NOW, ()), wanted))


def recorded(mesh: Mesh, folder: Path, *targets: str, **wish: Any) -> Report:
    path = dump(mesh, folder / "mesh.json")
    return verified(Recording.read([str(path)], io.BytesIO()), *targets, **wish)


def live(server: Server, *targets: str, request_timeout: float = 10.0, **wish: Any) -> Report:
    connection = Connection(kubeconfig=str(server.kubeconfig), request_timeout=request_timeout)
    with Cluster(connection) as cluster:
        return verified(cluster, *targets, **wish)


def levels(found: Report) -> dict[str, str]:
    """Every check that is not ok."""
    return {finding.check.id: str(finding.level) for finding in found.findings if finding.level}


def details(found: Report) -> dict[str, str]:
    """Place and detail of every problem."""
    return {str(problem.place): problem.detail for finding in found.findings for problem in finding.problems}

"""Judging the meshes of `meshes` without a command line, and what is compared of a report."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from istio_root.expiry import report
from meshes import NOW
from meshtrust.cli import threshold
from meshtrust.cluster import Cluster, Connection
from meshtrust.findings import Terms
from meshtrust.manifests import Recording
from meshtrust.source import Scope

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from meshtrust.report import Report
    from meshtrust.source import Source
    from sandbox import Mesh
    from sandbox.server import Server


def terms_at(now: datetime) -> Terms:
    """The terms that nobody chose."""
    return Terms(now, threshold("60d,20%"), threshold("14d,5%"))


def judged(source: Source, **scope: Any) -> Report:
    return report(source, Scope(**scope), terms_at(NOW), ())


def recorded(mesh: Mesh, folder: Path, **scope: Any) -> Report:
    return judged(Recording.read([str(mesh.dump(folder / "mesh.yaml"))], io.BytesIO()), **scope)


def live(server: Server, *, request_timeout: float = 10.0, **scope: Any) -> Report:
    connection = Connection(kubeconfig=str(server.kubeconfig), request_timeout=request_timeout)
    with Cluster(connection) as cluster:
        return judged(cluster, **scope)


def levels(found: Report) -> dict[str, str]:
    """Every check that is not ok."""
    return {finding.check.id: str(finding.level) for finding in found.findings if finding.level}


def unseen(found: Report) -> set[str]:
    return {f"{gap.ref}: {gap.why}" for finding in found.findings for gap in finding.unseen}

"""What certverify says of the running proxies, by every way of asking it, held against their handshakes."""

from __future__ import annotations

import re
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cluster.mesh import Mesh
    from cluster.plugins import Answer, Plugin

_POD_OF_DEPLOYMENT = re.compile(r"/([a-z-]+?)-[0-9a-f]+-[0-9a-z]{5}\b")
CRITICAL = "critical"


def held(mesh: Mesh, certverify: Plugin) -> Answer:
    """Ask live, of a recording and of istioctl's bug-report of the same moment: all say the same, and so do handshakes.

    Of two proxies that are both critical nobody can tell: they may hold the same wrong root.
    """
    recording = Path(mkdtemp(dir=certverify.folder), "mesh.yaml")
    live = certverify("--record", str(recording))
    assert certverify("-f", str(recording)).verdict == live.verdict
    assert certverify.of_bug_report().verdict == live.verdict
    critical = {name: level == CRITICAL for name, level in proxies(live).items()}
    for (one, other), succeeds in mesh.handshakes().items():
        if not (critical[one] and critical[other]):
            assert succeeds == (critical[one] == critical[other]), (one, other, critical)
    return live


def proxies(answer: Answer) -> dict[str, str]:
    """The level of each proxy, by what it is a proxy of."""
    levels = {}
    for row in answer.report["rows"]:
        if row["kind"] == "live" and (found := _POD_OF_DEPLOYMENT.search(row["place"])):
            levels[found[1]] = row["level"]
    return levels


def failing(mesh: Mesh) -> set[tuple[str, str]]:
    return {pair for pair, succeeds in mesh.handshakes().items() if not succeeds}

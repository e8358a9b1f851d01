"""When a proxy that has not moved yet will: by what its own agent was told."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from meshes import NOW, RENEWED, ROOT, istiod
from sandbox import Authority, Leaf, Proxy
from verified_meshes import edited
from verifying import recorded

if TYPE_CHECKING:
    from pathlib import Path

DAY = Leaf(issued=timedelta(hours=-2), ends=timedelta(hours=22))
BEHIND = istiod(ca=Authority(root=RENEWED), proxies=(Proxy("old", "shop", holds=(ROOT,), leaf=DAY),))
BACK_DATED = timedelta(minutes=2)
LIFE = timedelta(days=1) + BACK_DATED


def container(*env: dict[str, str]) -> dict[str, Any]:
    return {"spec": {"containers": [{"name": "istio-proxy", "args": ["proxy", "sidecar"], "env": list(env)}]}}


def annotated(text: str) -> dict[str, Any]:
    return {"metadata": {"annotations": {"proxy.istio.io/config": text}}}


@pytest.mark.parametrize(
    ("patch", "share"),
    [
        ({}, 0.5),
        (container({"name": "SECRET_GRACE_PERIOD_RATIO", "value": "0.25"}), 0.25),
        (container({"name": "SECRET_GRACE_PERIOD_RATIO", "value": "often"}), 0.5),
        (container({"name": "SECRET_GRACE_PERIOD_RATIO", "value": "7"}), 0.5),
        (container({"name": "PROXY_CONFIG", "value": '{"proxyMetadata":{"SECRET_GRACE_PERIOD_RATIO":"0.8"}}'}), 0.8),
        (annotated("proxyMetadata:\n  SECRET_GRACE_PERIOD_RATIO: '0.75'\n"), 0.75),
    ],
)
def test_the_agents_own_share_of_a_leafs_life_counts(patch: dict[str, Any], share: float, tmp_path: Path) -> None:
    found = recorded(edited(BEHIND, "old", patch), tmp_path)
    (row,) = (row for row in found.rows if row["kind"] == "live")
    due = NOW + timedelta(hours=22) - LIFE * (share - 0.01) + BACK_DATED
    assert abs(datetime.fromisoformat(row["moves_by"]) - due) <= timedelta(seconds=1)


def test_who_renews_late_is_not_overdue_at_half_of_its_leafs_life(tmp_path: Path) -> None:
    past_half = replace(BEHIND.proxies[0], leaf=Leaf(issued=timedelta(hours=-16), ends=timedelta(hours=8)))
    mesh = replace(BEHIND, proxies=(past_half,))
    late = container({"name": "SECRET_GRACE_PERIOD_RATIO", "value": "0.1"})
    overdue = [
        any("overdue" in problem.detail for finding in found.findings for problem in finding.problems)
        for found in (recorded(mesh, tmp_path), recorded(edited(mesh, "old", late), tmp_path))
    ]
    assert overdue == [True, False]

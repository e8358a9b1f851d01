"""When a proxy that has not moved yet will: by what its own agent was told."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from meshes import CITADEL_ROOT, NOW, RENEWED, ROOT, STRANGE, citadel, istiod
from meshtrust.durations import by_minute
from sandbox import Account, Authority, ControlPlane, Leaf, Namespace, Proxy
from verified_meshes import OLD_CITADEL_ROOT, edited
from verifying import details, recorded

if TYPE_CHECKING:
    from pathlib import Path

    from meshtrust.report import Report
    from sandbox import Ca, Mesh

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


FRESH = replace(CITADEL_ROOT, starts=timedelta(seconds=-20))
LATE = Account("web", holds=(OLD_CITADEL_ROOT,))


def mounted(account: Account, root: Ca = FRESH) -> Mesh:
    """A mesh of Citadel's with an Envoy that has not taken the root yet, and the Secret that it mounts."""
    return citadel(
        ca=Authority(root=root),
        control_planes=(ControlPlane(started=timedelta(seconds=-10)),),
        namespaces=(Namespace("bank", accounts=(LATE,)), Namespace("shop", accounts=(account,))),
        proxies=(Proxy("web", "shop", holds=(OLD_CITADEL_ROOT,)),),
    )


def moves(found: Report) -> dict[str, datetime | None]:
    """By what each row's place begins with: the proxy, and the Secret that it mounts."""
    rows = {row["place"].partition("-")[0]: row["moves_by"] for row in found.rows}
    named = {place: rows[place] for place in ("Pod shop/web", "Secret shop/istio.web") if place in rows}
    return {place: datetime.fromisoformat(by) if by else None for place, by in named.items()}


def test_what_is_mounted_moves_some_minutes_after_its_secret_and_not_with_its_leaf(tmp_path: Path) -> None:
    told = moves(recorded(mounted(LATE), tmp_path))
    secret = told["Secret shop/istio.web"]
    assert secret
    assert NOW < secret < NOW + timedelta(minutes=1)
    assert told["Pod shop/web"] == secret + timedelta(minutes=2)


@pytest.mark.parametrize(("ago", "said"), [(1, ", moves by "), (8, ", overdue for 6 minutes")])
def test_a_secret_that_was_written_is_taken_within_minutes(ago: int, said: str, tmp_path: Path) -> None:
    written = Account("web", leaf=Leaf(issued=timedelta(minutes=-ago), ends=timedelta(days=90)))
    found = recorded(mounted(written), tmp_path)
    assert moves(found) == {"Pod shop/web": NOW + timedelta(minutes=2 - ago), "Secret shop/istio.web": None}
    (detail,) = (text for place, text in details(found).items() if place.startswith("Pod shop/web"))
    assert said in detail


def test_when_files_move_that_nobody_writes_or_whose_secret_was_not_read_is_not_told(tmp_path: Path) -> None:
    wrong = Account("web", holds=(STRANGE,))
    assert moves(recorded(mounted(wrong), tmp_path)) == {"Pod shop/web": None, "Secret shop/istio.web": None}
    assert moves(recorded(mounted(LATE), tmp_path, stored=False)) == {"Pod shop/web": None}


def test_the_minute_by_which_one_moves_is_not_over_before_it_has() -> None:
    def ends(seconds: float) -> str:
        return by_minute(datetime(2026, 11, 24, 18, 14, tzinfo=UTC) + timedelta(seconds=seconds))

    assert [ends(seconds) for seconds in (0, 0.5, 54)] == ["2026-11-24T18:14Z", *["2026-11-24T18:15Z"] * 2]


def test_the_last_line_is_in_minutes_that_are_rounded_up(tmp_path: Path) -> None:
    found = recorded(BEHIND, tmp_path)
    (row,) = (row for row in found.rows if row["kind"] == "live")
    moves_by = datetime.fromisoformat(row["moves_by"])
    said = found.verdict.rpartition("the last moves by ")[2]
    assert timedelta(0) <= datetime.fromisoformat(said) - moves_by < timedelta(minutes=1)
    assert any(detail.endswith(f"moves by {said}") for detail in details(found).values())

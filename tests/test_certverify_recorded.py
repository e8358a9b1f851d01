"""Recorded states of real meshes get the verdicts that their handshakes gave."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from istio_certverify.saying import say
from meshtrust.manifests import Recording
from meshtrust.reading import Reading
from meshtrust.source import Scope
from meshtrust.verification.fleet import Targets
from meshtrust.verification.verifying import Wish, verify
from verifying import details, levels

if TYPE_CHECKING:
    from meshtrust.report import Report

RECORDED = Path(__file__).parent / "recorded"


def clock(text: str) -> datetime:
    return datetime.fromisoformat(f"2026-11-24T{text}").replace(tzinfo=UTC)


def judged(state: str, now: datetime, *, live: bool = True) -> Report:
    files = [RECORDED / f"{state}.bug-report.tar.gz", RECORDED / f"{state}.secrets.yaml", RECORDED / f"{state}.yaml"]
    source = Recording.read([str(file) for file in files if file.exists()], io.BytesIO())
    wish = Wish(stored=True, live=live, targets=Targets())
    return say(verify(Reading(source, Scope(), now, ()), wish))


@pytest.mark.parametrize(
    ("state", "now", "status", "findings"),
    [
        ("healthy", "06:26:20", "ok", {}),
        ("extended-mixed", "06:00:30", "warning", {"root-held": "warning"}),
        ("renewed-other-ski", "06:05:40", "critical", {"root-held": "critical"}),
        ("ztunnel-healthy", "07:00:31", "ok", {}),
        ("ztunnel-one-identity-renewed", "07:02:12", "warning", {"root-held": "warning"}),
        (
            "ztunnel-one-identity-unavailable",
            "07:10:26",
            "critical",
            {"delivered": "critical", "root-held": "critical"},
        ),
    ],
)
def test_a_real_istiod_mesh_gets_its_verdict(state: str, now: str, status: str, findings: dict[str, str]) -> None:
    found = judged(state, clock(now))
    assert (str(found.status), levels(found)) == (status, findings)


@pytest.mark.parametrize(
    ("state", "now", "status", "findings"),
    [
        ("citadel-healthy", "06:53:03", "ok", {}),
        ("citadel-partly-reloaded", "07:00:55", "warning", {"copies-agree": "warning", "root-held": "warning"}),
    ],
)
def test_a_real_citadel_gets_its_verdict(state: str, now: str, status: str, findings: dict[str, str]) -> None:
    found = judged(state, clock(now), live=False)
    assert (str(found.status), levels(found)) == (status, findings)


def test_each_proxy_that_has_not_moved_is_named_with_the_time_when_it_will_have() -> None:
    found = judged("extended-mixed", clock("06:00:30"))
    moving = {row["place"]: row["moves_by"] for row in found.rows if row["moves_by"]}
    assert moving == {
        "Pod istio-system/istio-ingressgateway-78f69fddbd-hd4zd": "2026-11-24T18:14:01Z",
        "Pod shop/web-854df66bfb-cjhlw": "2026-11-24T18:14:01Z",
        "Pod shop/web-854df66bfb-jwxz5": "2026-11-24T18:14:04Z",
    }
    assert found.verdict == "checked 20 of 20, 3 have not moved yet; the last moves by 2026-11-24T18:15Z"


def test_what_mends_a_ztunnel_is_a_restart_of_it_and_never_of_a_workload() -> None:
    found = judged("ztunnel-one-identity-renewed", clock("07:02:12"))
    assert "kubectl rollout restart ds/ztunnel -n istio-system" in found.commands
    assert not [command for command in found.commands if "amb" in command]


def test_a_lost_identity_is_said_to_be_up_to_three_minutes_old() -> None:
    found = judged("ztunnel-one-identity-unavailable", clock("07:10:26"))
    place = "Pod istio-system/ztunnel-2z4kv [spiffe://cluster.local/ns/amb/sa/audit]"
    assert details(found)[place].startswith("Unavailable: signing gRPC error")
    assert details(found)[place].endswith("(may be up to 3 minutes old)")


def test_what_citadel_does_not_keep_is_a_warning_with_its_reason() -> None:
    said = details(judged("citadel-partly-reloaded", clock("07:00:55"), live=False))
    assert said["Secret left/istio.old"].endswith("Citadel leaves it alone (ca.istio.io/override=false)")


def test_citadel_needs_a_minute_and_then_its_time_for_each_secret() -> None:
    written = clock("07:00:47")  # after the start of Citadel
    for now in (clock("07:00:55"), clock("07:30:00")):
        found = judged("citadel-partly-reloaded", now, live=False)
        last = max(row["moves_by"] for row in found.rows if row["moves_by"])
        assert datetime.fromisoformat(last) == (written + timedelta(seconds=60 + 0.4 * 19)).replace(microsecond=0)


def test_before_half_of_its_life_no_leaf_is_overdue_and_after_it_each_is() -> None:
    assert judged("healthy", clock("18:39:00")).status.name == "OK"
    late = judged("healthy", clock("18:45:00"))
    assert levels(late) == {"leaf-renewed": "warning"}
    assert all("overdue" in detail for detail in details(late).values())

"""The recorded states of real meshes get the verdict that their handshakes gave (tests/recorded/README.md)."""

from __future__ import annotations

import io
from datetime import datetime
from pathlib import Path

import pytest

from istio_root.expiry import report
from judging import levels, terms_at
from meshtrust.manifests import Recording
from meshtrust.source import Scope

FOLDER = Path(__file__).parent / "recorded"
STATES = [
    ("healthy", "2026-11-24T06:26:20Z", {}),
    ("extended-mixed", "2026-11-24T06:00:30Z", {}),
    ("renewed-other-ski", "2026-11-24T06:05:40Z", {}),
    ("citadel-healthy", "2026-11-24T06:53:03Z", {}),
    ("citadel-partly-reloaded", "2026-11-24T07:00:50Z", {"copies-agree": "warning"}),
    ("ztunnel-healthy", "2026-11-24T07:00:31Z", {}),
    ("ztunnel-one-identity-renewed", "2026-11-24T07:02:12Z", {}),
    ("ztunnel-one-identity-unavailable", "2026-11-24T07:10:26Z", {}),
]


@pytest.mark.parametrize(("name", "at", "expected"), STATES, ids=[name for name, _, _ in STATES])
def test_a_recorded_state_gets_its_verdict(name: str, at: str, expected: dict[str, str]) -> None:
    paths = sorted(str(path) for path in FOLDER.glob(f"{name}.*"))
    found = report(Recording.read(paths, io.BytesIO()), Scope(), terms_at(datetime.fromisoformat(at)), ())
    assert levels(found) == expected
    assert found.checked


def test_a_bug_report_alone_lacks_the_signer_and_says_so() -> None:
    recording = Recording.read([str(FOLDER / "healthy.bug-report.tar.gz")], io.BytesIO())
    now = datetime.fromisoformat("2026-11-24T06:26:20Z")
    whole, public = (report(recording, Scope(public=only), terms_at(now), ()) for only in (False, True))
    assert (str(whole.status), str(public.status)) == ("unknown", "ok")

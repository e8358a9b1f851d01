"""Spans of time and releases, as people and images write them."""

from __future__ import annotations

from datetime import timedelta

import pytest

from meshtrust.durations import parse_duration, parse_go_duration, short, spoken
from meshtrust.versions import (
    KEEPS_ORGANIZATION,
    REFUSES_INCOMPLETE,
    ROTATOR,
    SHA256_IDENTIFIER,
    IstioVersion,
    image_version,
)


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("60d", timedelta(days=60)),
        ("2w", timedelta(weeks=2)),
        ("36h", timedelta(hours=36)),
        ("1h30m", timedelta(minutes=90)),
        ("1.5h", timedelta(minutes=90)),
        (".5s", timedelta(milliseconds=500)),
        ("-1h", timedelta(hours=-1)),
        ("0", timedelta(0)),
    ],
)
def test_durations_are_go_s_and_days_and_weeks(text: str, span: timedelta) -> None:
    assert parse_duration(text) == span


@pytest.mark.parametrize("text", ["", "5", "d", "1x", "1h 30m", "∞", "1e3s", "99999999999999w", "--1h"])
def test_what_is_no_duration_is_none(text: str) -> None:
    assert parse_duration(text) is None


def test_go_itself_knows_no_days() -> None:
    assert (parse_go_duration("24h"), parse_go_duration("1d"), parse_go_duration("1w")) == (
        timedelta(days=1),
        None,
        None,
    )


@pytest.mark.parametrize(
    ("span", "table", "sentence"),
    [
        (timedelta(days=41, hours=5), "41d", "41 days"),
        (timedelta(hours=47), "47h", "47 hours"),
        (timedelta(hours=6, minutes=59), "6h59m", "6 hours"),
        (timedelta(hours=-5), "-5h", "5 hours"),
        (timedelta(hours=8, minutes=59), "8h", "8 hours"),
        (timedelta(minutes=90), "90m", "90 minutes"),
        (timedelta(seconds=1), "1s", "1 second"),
        (timedelta(0), "0s", "0 seconds"),
        (timedelta(days=-3), "-3d", "3 days"),
    ],
)
def test_what_is_left_is_said_in_the_unit_that_tells_most(span: timedelta, table: str, sentence: str) -> None:
    assert (short(span), spoken(span)) == (table, sentence)


@pytest.mark.parametrize(
    ("image", "version"),
    [
        ("docker.io/istio/pilot:1.29.2", IstioVersion(1, 29, 2)),
        ("istio/pilot:1.29.2-distroless@sha256:abc", IstioVersion(1, 29, 2)),
        ("host:5000/istio/pilot:v1.4.10-gke.8", IstioVersion(1, 4, 10)),
        ("gcr.io/gke-release/asm/pilot:1.19.10-asm.24", IstioVersion(1, 19, 10)),
        ("registry.istio.io/testing/pilot:1.31.0-rc.0", IstioVersion(1, 31, 0)),
        ("host:5000/a/b@sha256:abc", None),
        ("istio/pilot:latest", None),
        ("istio/pilot:1.22-dev", IstioVersion(1, 22, 0)),
        ("istio/pilot", None),
        ("", None),
        ("x:" + "9" * 300, None),
    ],
)
def test_the_release_is_read_from_the_tag_or_it_is_unknown(image: str, version: IstioVersion | None) -> None:
    assert image_version(image) == version


def test_the_label_is_kept_and_orders_nothing() -> None:
    tagged = image_version("istio/pilot:1.29.2-distroless")
    assert str(tagged) == "1.29.2-distroless"
    assert tagged == IstioVersion(1, 29, 2)


@pytest.mark.parametrize(
    ("version", "rotator", "organization"),
    [
        ("1.0.9", False, False),
        ("1.2.8", False, False),
        ("1.2.9", True, False),
        ("1.3.4", False, False),
        ("1.3.5", True, False),
        ("1.3.7", True, True),
        ("1.4.0", True, False),
        ("1.4.3", True, True),
        ("1.5.0", True, True),
        ("1.31.0", True, True),
    ],
)
def test_a_change_came_to_each_release_line_in_its_own_patch(version: str, rotator: bool, organization: bool) -> None:
    release = image_version(f":{version}")
    assert release is not None
    assert (release.has(ROTATOR), release.has(KEEPS_ORGANIZATION)) == (rotator, organization)


def test_newer_rules_begin_where_they_were_seen() -> None:
    assert not IstioVersion(1, 26, 0).has(REFUSES_INCOMPLETE)
    assert IstioVersion(1, 26, 1).has(REFUSES_INCOMPLETE)
    assert not IstioVersion(1, 28, 9).has(SHA256_IDENTIFIER)
    assert IstioVersion(1, 29, 0).has(SHA256_IDENTIFIER)

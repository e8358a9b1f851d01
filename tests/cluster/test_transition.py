"""`transition` and `restore` on a real mesh: under traffic, killed, in a race, with few rights, after the end."""

from __future__ import annotations

import os
import pty
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from cluster.agreeing import failing, proxies
from cluster.mesh import CA_SECRET, Mesh, eventually
from cluster.rights import CERTVERIFY, USER, Right, granted
from cluster.roots import ROOT
from cluster.traffic import traffic
from cluster.workloads import HOME, WORKLOADS, Workload

if TYPE_CHECKING:
    from cluster.plugins import Plugin

# Their leaves live for minutes: each takes a new root along at a moment of its own, and none is replaced.
SWIFT = Workload("swift", "bank", leaf="1m")
BRISK = Workload("brisk", "shop", native=False, leaf="1m")
TARDY = Workload("tardy", "shop", leaf="90s")
MOVING = (SWIFT, BRISK, TARDY)
APPLY = ("--apply", "--yes", "--timeout", "5m")
WRITING = (
    Right("patch", "secrets", CA_SECRET, HOME),
    Right("list", "deployments", "", HOME, "apps"),
    Right("patch", "deployments", "istiod", HOME, "apps"),
)
TRANSITION = (
    *CERTVERIFY,
    Right("list", "secrets", "", HOME),
    Right("list", "peerauthentications", group="security.istio.io"),
    *WRITING,
)


@pytest.fixture(autouse=True)
def _signing(mesh: Mesh, certverify: Plugin) -> None:
    """One CA for all; the proxies get its root anew where it is not an edition of it that they hold."""
    if mesh.published() != {mesh.stored_root()} or mesh.stored_root() != mesh.fingerprint(ROOT):
        mesh.load_root(ROOT)
    if certverify().code > 1:
        mesh.restart(*mesh.deployments)


def test_no_request_fails_through_a_transition_and_the_way_back(
    mesh: Mesh, transition: Plugin, restore: Plugin, certverify: Plugin
) -> None:
    with mesh.added(*MOVING), traffic(mesh, *MOVING, *WORKLOADS) as seen:
        planned = transition()
        assert (planned.code, planned.levels) == (0, {})
        assert mesh.stored_root() == mesh.fingerprint(ROOT)
        done = transition(*APPLY)
        assert (done.code, done.levels) == (0, {})
        assert mesh.stored_root() != mesh.fingerprint(ROOT)
        assert mesh.published() == {mesh.stored_root()}
        _all_move(certverify)
        assert {proxies(certverify())[workload.name] for workload in WORKLOADS} == {"warning"}
        seen.go_on()
        back = restore(*APPLY)
        assert (back.code, back.levels) == (0, {})
        assert mesh.stored_root() == mesh.fingerprint(ROOT)
        _all_move(certverify)
        seen.go_on()
    assert seen.failing == set(), seen.failed[:5]


def test_waiting_ends_when_the_last_proxy_has_moved(mesh: Mesh, transition: Plugin, certverify: Plugin) -> None:
    with mesh.added(SWIFT, BRISK), traffic(mesh, SWIFT, BRISK) as seen:
        with ThreadPoolExecutor(1) as beside:
            waiting = beside.submit(transition, *APPLY, "--wait")
            eventually(lambda: mesh.published() == {mesh.stored_root()} != {mesh.fingerprint(ROOT)}, "it is published")
            mesh.restart(*mesh.deployments)
            done = waiting.result()
        assert (done.code, done.levels) == (0, {})
        assert set(proxies(certverify()).values()) == {"ok"}
    assert seen.failing == set(), seen.failed[:5]


def test_a_dropped_key_identifier_makes_istiods_own_renewal_harmless(
    mesh: Mesh, transition: Plugin, certverify: Plugin
) -> None:
    with mesh.added(*MOVING), traffic(mesh, *MOVING) as seen:
        done = transition(*APPLY, "--key-identifier", "drop")
        assert (done.code, done.levels) == (0, {})
        mesh.restart(*mesh.deployments)
        _all_move(certverify)
        bare = mesh.stored_root()
        with mesh.renewing(below=100):
            eventually(lambda: mesh.stored_root() != bare, "istiod renews its root")
            renewed = mesh.stored_root()
            eventually(lambda: _trusted_by(certverify) - {bare} != set(), f"somebody has moved to {renewed}")
            eventually(lambda: bare not in _trusted_by(certverify), "all have moved on", seconds=400)
            seen.go_on()
    assert seen.failing == set(), seen.failed[:5]


@pytest.mark.parametrize("moment", [f"PATCH /api/v1/namespaces/{HOME}/secrets", "PATCH /apis/apps/v1", "deployments"])
def test_whoever_is_killed_can_be_followed_by_the_same_command(mesh: Mesh, transition: Plugin, moment: str) -> None:
    command = ("kubectl", "istio-root", "transition", *APPLY, "-v")
    with subprocess.Popen(
        mesh.ground.command(*command), env=transition.environment(), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL
    ) as process:
        written = False
        for line in process.stderr or ():
            written = written or b"PATCH" in line
            if written and moment.encode() in line:
                mesh.ground.kill(process.pid)
                break
    assert process.returncode
    first = mesh.stored_root()
    assert first != mesh.fingerprint(ROOT)
    done = transition(*APPLY)
    assert (done.code, done.levels) == (0, {})
    assert mesh.stored_root() == first
    assert mesh.published() == {first}


def test_what_another_has_written_since_the_plan_was_read_is_not_overwritten(mesh: Mesh, transition: Plugin) -> None:
    terminal, theirs = pty.openpty()
    command = ("kubectl", "istio-root", "transition", "--apply")
    with subprocess.Popen(
        mesh.ground.command(*command), env=transition.environment(), stdin=theirs, stderr=theirs, stdout=theirs
    ) as process:
        os.close(theirs)
        said = b""
        while b"[yes/no]" not in said:
            said += os.read(terminal, 4096)
        mesh.merge(HOME, "secret", CA_SECRET, {"metadata": {"annotations": {"rotator": "was-here"}}})
        os.write(terminal, b"yes\n")
        process.wait(timeout=120)
    os.close(terminal)
    assert process.returncode == 2
    assert mesh.stored_root() == mesh.fingerprint(ROOT)


def test_of_two_at_once_one_writes_and_none_undoes_it(mesh: Mesh, transition: Plugin) -> None:
    with ThreadPoolExecutor(2) as both:
        done = list(both.map(lambda _: transition(*APPLY), range(2)))
    assert 0 in {one.code for one in done} <= {0, 2}
    assert mesh.kept_root() == mesh.fingerprint(ROOT)
    assert transition().code == 0
    assert mesh.published() == {mesh.stored_root()}


def test_the_rights_that_a_transition_needs_are_enough_there_and_back(
    mesh: Mesh, transition: Plugin, restore: Plugin
) -> None:
    with granted(mesh, TRANSITION):
        done = transition(*APPLY, user=USER)
        assert (done.code, done.levels) == (0, {})
        assert mesh.stored_root() != mesh.fingerprint(ROOT)
        back = restore(*APPLY, user=USER)
    assert (back.code, back.levels) == (0, {})
    assert mesh.stored_root() == mesh.fingerprint(ROOT)


@pytest.mark.parametrize("missing", WRITING, ids=str)
def test_with_one_right_less_nothing_is_written_and_it_is_named(mesh: Mesh, transition: Plugin, missing: Right) -> None:
    with granted(mesh, TRANSITION, missing):
        done = transition(*APPLY, user=USER)
    assert done.code in {2, 3}
    said = done.unseen + done.stderr + str(done.report["findings"])
    assert f"{missing.verb} {missing.resource}" in said.replace(f".{missing.group}", "")
    assert mesh.stored_root() == mesh.fingerprint(ROOT)


def test_a_root_that_has_ended_is_healed_and_with_it_the_mesh(
    mesh: Mesh, transition: Plugin, certverify: Plugin
) -> None:
    ends = datetime.now(UTC) + timedelta(seconds=100)
    mesh.sign_with(replace(ROOT, ends=ends - mesh.now))
    eventually(lambda: datetime.now(UTC) > ends, "the root has ended", seconds=300)
    mesh.scale_istiod(0)
    mesh.scale_istiod(1)
    eventually(lambda: mesh.istiod_state() == ("Running", False), "istiod runs and is not ready")
    assert failing(mesh) == set(mesh.handshakes())
    done = transition(*APPLY)
    assert done.code in {0, 1}
    assert mesh.istiod_state() == ("Running", True)
    mesh.restart(*mesh.deployments)
    assert certverify().levels == {}
    assert failing(mesh) == set()


def _all_move(certverify: Plugin) -> None:
    names = {workload.name for workload in MOVING}
    eventually(lambda: _levels(certverify, names) == {"ok"}, "all that move have moved", seconds=400)


def _levels(certverify: Plugin, names: set[str]) -> set[str]:
    return {level for name, level in proxies(certverify("--live")).items() if name in names}


def _trusted_by(certverify: Plugin) -> set[str]:
    rows = certverify("--live").report["rows"]
    names = tuple(f"/{workload.name}-" for workload in MOVING)
    return {root for row in rows for root in row["trusts"] or () if any(name in row["place"] for name in names)}

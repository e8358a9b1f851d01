"""A change that is cut short (kill -9, Ctrl-C), and others who write in the middle of it."""

from __future__ import annotations

import json
import os
import signal
from base64 import b64encode
from dataclasses import dataclass, replace
from datetime import timedelta
from threading import Barrier, Event
from typing import TYPE_CHECKING, Any

import pytest

from asking import connected
from istio_root.transition.wish import Verb
from sandbox import Answer
from transitions import (
    BUNDLES,
    CA,
    DEPLOYMENTS,
    ERAS,
    HOME,
    NEWER,
    OFF,
    OLD,
    SECRET,
    assert_whole,
    begun,
    behind,
    certificate,
    changed,
    citadel,
    editions,
    is_edition,
    istiod,
    lively,
    previous,
    restore,
    root,
    run,
    text,
    texts,
    typed,
    writes,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from sandbox import Mesh, Server


@dataclass(frozen=True, slots=True)
class Moment:
    """A request of a run: how many of its path pass before it, and whether what it asks for is done by then.

    written: only requests count that come after the write
    """

    path: str
    method: str = "GET"
    passed: int = 0
    done: bool = False
    written: bool = False


MOMENTS = {
    "when the first is read": Moment(SECRET),
    "when the key is read": Moment(SECRET, passed=2),
    "when rights are asked for": Moment("*/selfsubjectaccessreviews", "POST"),
    "before the write": Moment(SECRET, "PATCH"),
    "when it is written": Moment(SECRET, "PATCH", done=True),
    "when it is read back": Moment(SECRET, written=True),
    "before the restart": Moment(f"{DEPLOYMENTS}/*", "PATCH"),
    "when it is restarted": Moment(f"{DEPLOYMENTS}/*", "PATCH", done=True),
    "in the rollout": Moment(DEPLOYMENTS, passed=1, written=True),
    "when copies are followed": Moment(BUNDLES, written=True),
    "when they are looked at again": Moment(BUNDLES, passed=1, written=True),
}


def cut_short(server: Server, moment: Moment, number: int, *args: str) -> tuple[int, str, str]:
    """Start a command line, send it a signal at a moment, and give its exit code, stdout and stderr."""
    ready, sent = Event(), Event()

    def act(_: Any) -> None:
        ready.wait()
        os.kill(process.pid, number)
        if number == signal.SIGKILL:
            process.wait()
        sent.set()

    seen = iter(range(1000))
    server.on(
        act,
        method=moment.method,
        path=moment.path,
        when=lambda _: (SECRET in writes(server) or not moment.written) and next(seen) >= moment.passed,
        after=moment.done,
    )
    process = begun(server, *args)
    ready.set()
    out, err = process.communicate(timeout=60)
    assert sent.is_set(), f"the moment never came:\n{out}{err}"
    return process.returncode, out, err


class TestKilled:
    @pytest.mark.parametrize("moment", MOMENTS)
    def test_the_next_transition_names_the_state_and_finishes(self, moment: str) -> None:
        with lively(istiod()) as server:
            code, _, _ = cut_short(server, MOMENTS[moment], signal.SIGKILL, "transition", "--apply", "--yes")
            assert code == -signal.SIGKILL
            assert_whole(server)
            written = root(server) != certificate(OLD)
            assert written is (list(MOMENTS).index(moment) >= 4) or moment == "before the write"
            if written and moment in ("when it is written", "when it is read back", "before the restart"):
                assert "the root in the Secret is not loaded yet" in run(server, apply=False).words
            ended = run(server)
            assert ended.code in {0, 1}, ended.words
            assert len(editions(server)) == 2
            assert (is_edition(root(server), certificate(OLD)), previous(server)) == (True, certificate(OLD))
            server.until(lambda: not behind(server))
            assert_whole(server)

    @pytest.mark.parametrize(
        "moment", ["before the write", "when it is written", "before the restart", "when it is restarted"]
    )
    def test_the_next_restore_goes_on_and_does_not_swap_back(self, moment: str) -> None:
        with lively(changed()) as server:
            cut_short(server, MOMENTS[moment], signal.SIGKILL, "restore", "--apply", "--yes")
            assert_whole(server)
            ended = restore(server)
            assert ended.code == 0, ended.words
            assert (root(server), previous(server), behind(server)) == (certificate(OLD), certificate(NEWER), [])
            assert len(editions(server)) == 2

    @pytest.mark.parametrize("moment", ["when it is written", "when it is restarted"])
    def test_before_istiod_too(self, moment: str) -> None:
        with lively(ERAS["citadel"]()) as server:
            cut_short(server, MOMENTS[moment], signal.SIGKILL, "transition", "--apply", "--yes")
            ended = run(server)
            assert (ended.code, behind(server), len(editions(server))) == (0, [], 2), ended.words
            assert_whole(server)


class TestInterrupted:
    @pytest.mark.parametrize("moment", MOMENTS)
    def test_ctrl_c_ends_it_quietly_and_the_report_says_how_far_it_came(self, moment: str) -> None:
        with lively(istiod()) as server:
            code, out, err = cut_short(server, MOMENTS[moment], signal.SIGINT, "transition", "--apply", "--yes")
            assert code == 130, out + err
            assert "Traceback" not in out + err
            if list(MOMENTS).index(moment) >= 3:
                assert "interrupted after " in out
                assert "the same command goes on from where it stands" in out
            assert_whole(server)

    def test_ctrl_c_ends_a_restore_as_quietly(self) -> None:
        with lively(changed()) as server:
            moment = MOMENTS["when it is restarted"]
            code, out, err = cut_short(server, moment, signal.SIGINT, "restore", "--apply", "--yes")
            assert (code, "interrupted after 1 of 3 steps" in out) == (130, True), out + err

    def test_ctrl_c_while_proxies_are_waited_for_leaves_a_report_of_them(self) -> None:
        with lively(istiod()) as server:
            moment = Moment("*/portforward", written=True)
            code, out, err = cut_short(server, moment, signal.SIGINT, "transition", "--apply", "--yes", "--wait")
            assert (code, "interrupted after 3 of 4 steps" in out) == (130, True), out + err
            assert "Traceback" not in err


def written_by(manager: str, patch: dict[str, Any]) -> Callable[[Server], None]:
    """Somebody else, who writes as this manager."""

    def write(server: Server) -> None:
        with connected(server) as ask:
            assert ask.patch(f"{SECRET}?fieldManager={manager}", patch).status == 200

    return write


def renewed() -> dict[str, Any]:
    """What istiod's own rotator writes: another edition, and not ours."""
    own = replace(OLD, starts=OLD.ends * 0, identifier="sha256")
    return {"stringData": {"ca-cert.pem": text(own), "root-cert.pem": text(own)}}


def encoded(patch: dict[str, Any]) -> dict[str, Any]:
    return {"data": {key: b64encode(value.encode()).decode() for key, value in patch["stringData"].items()}}


class TestOthers:
    def test_a_rotator_that_was_quicker_keeps_what_it_wrote_and_is_named(self) -> None:
        with lively(istiod()) as server:
            write = written_by("pilot-discovery", encoded(renewed()))
            server.on(lambda _: write(server), method="PATCH", path=SECRET)
            ended = run(server)
            assert (ended.code, ended.states["write"]) == (2, "refused"), ended.words
            assert "it was written by pilot-discovery at " in ended.words
            assert texts(server)["ca-cert.pem"] == renewed()["stringData"]["ca-cert.pem"]
            assert "previous-ca-cert.pem" not in texts(server)
            assert writes(server) == [SECRET, SECRET]
            assert_whole(server)

    def test_whoever_changes_anything_in_between_is_not_overwritten(self) -> None:
        with lively(istiod()) as server:
            write = written_by("kubectl-edit", {"metadata": {"labels": {"team": "mesh"}}})
            server.on(lambda _: write(server), method="PATCH", path=SECRET)
            ended = run(server)
            assert (ended.code, root(server)) == (2, certificate(OLD)), ended.words
            assert "it was written by kubectl-edit at " in ended.words

    def test_a_secret_that_was_written_again_right_after_us_is_noticed(self) -> None:
        with lively(istiod()) as server:
            write = written_by("argocd-controller", encoded({"stringData": {"ca-cert.pem": text(OLD)}}))
            server.on(lambda _: write(server), method="PATCH", path=SECRET, after=True)
            ended = run(server)
            assert (ended.code, ended.states["write"]) == (2, "refused"), ended.words
            assert "it was written, and is another again: by argocd-controller at " in ended.words
            assert f"{DEPLOYMENTS}/istiod" not in writes(server)
            assert_whole(server)

    def test_a_secret_that_was_deleted_in_between_is_not_made_anew(self) -> None:
        with lively(istiod()) as server:
            server.on(lambda _: server.delete("Secret", HOME, CA), method="PATCH", path=SECRET)
            ended = run(server)
            assert (ended.code, ended.states["write"]) == (2, "refused"), ended.words
            assert "it is gone" in ended.words
            assert texts(server) == {}
            assert f"{DEPLOYMENTS}/istiod" not in writes(server)

    def test_a_secret_that_was_deleted_right_after_us_is_not_restarted_upon(self) -> None:
        """An istiod that starts without it would make another key."""
        with lively(istiod()) as server:
            server.on(lambda _: server.delete("Secret", HOME, CA), method="PATCH", path=SECRET, after=True)
            ended = run(server)
            assert ended.code == 3, ended.words
            assert "could not be read back: it is gone" in ended.words
            assert f"{DEPLOYMENTS}/istiod" not in writes(server)

    def test_a_secret_that_became_immutable_in_between_is_left_as_it_is(self) -> None:
        with lively(istiod()) as server:
            server.on(lambda _: server.change("Secret", HOME, CA, {"immutable": True}), method="PATCH", path=SECRET)
            assert (run(server).code, root(server)) == (2, certificate(OLD))

    @pytest.mark.parametrize(
        ("code", "words"),
        [
            (403, 'admission webhook "guard.example.org" denied the request: no CA is written on Fridays'),
            (400, 'admission webhook "guard.example.org" denied the request: no CA is written on Fridays'),
            (500, 'Internal error occurred: failed calling webhook "guard.example.org": no endpoints available'),
        ],
    )
    def test_a_webhook_that_rejects_the_write_is_quoted_and_nothing_is_changed(self, code: int, words: str) -> None:
        with lively(istiod()) as server:
            server.faults.add(Answer(code, words), method="PATCH", path=SECRET)
            ended = run(server)
            assert (ended.code, ended.states["write"]) == (2, "refused"), ended.words
            assert "guard.example.org" in ended.words
            assert (root(server), len(editions(server))) == (certificate(OLD), 1)


class TestTwo:
    def test_of_two_who_write_at_the_same_time_one_wins_and_the_other_stops(self) -> None:
        together = Barrier(2)
        with lively(istiod()) as server:

            def meet(_: object) -> None:
                together.wait(30)

            server.on(meet, method="PATCH", path=SECRET, times=2)
            both = [begun(server, "transition", "--apply", "--yes") for _ in range(2)]
            said = [one.communicate(timeout=60) for one in both]
            assert sorted(one.returncode for one in both) == [0, 2], said
            (lost,) = (out for one, (out, _) in zip(both, said, strict=True) if one.returncode == 2)
            assert "it was written by kubectl-istio-root at " in lost
            assert (len(editions(server)), behind(server)) == (2, [])
            assert_whole(server)

    def test_who_comes_in_the_middle_of_it_goes_on_with_it(self) -> None:
        found = []
        with lively(istiod()) as server:
            server.on(lambda _: found.append(run(server)), method="PATCH", path=f"{DEPLOYMENTS}/istiod")
            first = run(server)
            assert (first.code, found[0].code) == (0, 0), first.words + found[0].words
            assert (len(editions(server)), behind(server)) == (2, [])

    def test_who_comes_after_it_has_nothing_to_do(self) -> None:
        with lively(istiod()) as server:
            run(server)
            assert run(server).line == "nothing to do"


@pytest.mark.parametrize(
    "mesh",
    [istiod(control_planes=(OFF, replace(OFF, revision="canary"))), citadel(parts=("galley", "sidecar-injector"))],
    ids=["two revisions", "galley"],
)
def test_a_label_that_somebody_gives_the_secret_later_is_no_change_of_the_root(mesh: Mesh) -> None:
    with lively(mesh) as server:
        assert run(server).code == 0
        server.set_clock_offset(timedelta(hours=1))
        written_by("kubectl-label", {"metadata": {"labels": {"team": "mesh"}}})(server)
        server.set_clock_offset(timedelta(0))
        done = typed(server, "transition", "-o", "json")
        assert (done.returncode, json.loads(done.stdout)["plan"]["stage"]) == (0, "fresh"), done.stdout


def test_a_root_is_restored_only_by_whoever_read_it_last() -> None:
    with lively(changed()) as server:
        write = written_by("kubectl-edit", {"metadata": {"labels": {"team": "mesh"}}})
        server.on(lambda _: write(server), method="PATCH", path=SECRET)
        ended = run(server, Verb.RESTORE)
        assert (ended.code, root(server)) == (2, certificate(NEWER)), ended.words

"""Whatever a request of a change meets: the Secret stays whole, the exit code tells, and the next run finishes it."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

import pytest

from istio_root.transition.wish import Verb
from sandbox import Answer, Cut, Lost, Reset, Silence, Slow
from transitions import (
    DEPLOYMENTS,
    ERAS,
    HOME,
    SECRET,
    Ended,
    assert_whole,
    behind,
    changed,
    editions,
    is_edition,
    lively,
    root,
    run,
    writes,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sandbox import Mesh, Server
    from sandbox.faults import Fault

FAULTS: dict[str, Fault] = {
    "401": Answer(401),
    "403": Answer(403, 'secrets "istio-ca-secret" is forbidden: User "u" cannot do this'),
    "404": Answer(404),
    "409": Answer(409, "the object has been modified"),
    "410": Answer(410, "too old"),
    "429": Answer(429, retry_after=0),
    "500": Answer(500, "etcdserver: leader changed"),
    "503": Answer(503, "apiserver is shutting down"),
    "cut": Cut(),
    "reset": Reset(),
    "silence": Silence(),
    "slow": Slow(bytes=512, pause=0.001),
    "lost": Lost(),
}
WEBHOOKS = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"
# What is read for the plan: how many requests of the same path pass before the one that is meant.
READ = {
    "the pods of the control plane": ("/api/v1/pods", 0),
    "the published copies": ("/api/v1/configmaps", 0),
    "the Secret of the CA": (SECRET, 0),
    "the Secret as an object": (SECRET, 1),
    "the key": (SECRET, 2),
    "a cacerts": (f"/api/v1/namespaces/{HOME}/secrets/cacerts", 0),
    "the namespaces": ("/api/v1/namespaces", 0),
    "the webhooks": (WEBHOOKS, 0),
    "the Deployments": (DEPLOYMENTS, 0),
    "all pods": ("/api/v1/pods", 2),
    "a proxy": ("*/portforward", 0),
    "the rights": ("*/selfsubjectaccessreviews", 0),
    "the other clusters": (f"/api/v1/namespaces/{HOME}/secrets", 0),
}
# And what is read from the write on.
FOLLOWED = {
    "the Secret read back": (SECRET, 0),
    "the rollout": (DEPLOYMENTS, 0),
    "the pods of the rollout": (f"/api/v1/namespaces/{HOME}/pods", 0),
    "the copies again": ("/api/v1/configmaps", 0),
    "the control plane again": ("/api/v1/pods", 0),
    "the webhooks again": (WEBHOOKS, 0),
}

# What is done all the same: the namespaces only tell why a copy is left behind; where one way is forbidden there is
# another (the home by its name, namespace by namespace, exec); and "there is none" (404) is an answer for most.
NEEDED = ("the Secret of the CA", "the Secret as an object", "the key", "the Deployments", "the rights")
PASSED = {
    "403": {"the pods of the control plane", "all pods", "a proxy"},
    "404": set(READ) - set(NEEDED),
    "cut": {"a proxy"},  # a conversation is not cut by it
}


@dataclass(frozen=True, slots=True)
class Meeting:
    """A fault, and which requests meet it: those of a path but for the first few, from then on or once."""

    name: str
    fault: str
    path: str
    passed: int = 0
    method: str = "*"
    times: int | None = None
    written: bool = False

    def arrange(self, server: Server) -> None:
        seen = count()
        server.faults.add(
            FAULTS[self.fault],
            method=self.method,
            path=self.path,
            when=lambda _: (SECRET in writes(server) or not self.written) and next(seen) >= self.passed,
            times=self.times,
        )


def _meetings(
    places: dict[str, tuple[str, int]], faults: Iterable[str], times: int | None = None, *, written: bool = False
) -> list[Meeting]:
    return [
        Meeting(name, fault, path, passed, "POST" if "reviews" in path else "GET", times, written)
        for name, (path, passed) in places.items()
        for fault in faults
    ]


def _write(*faults: str) -> list[Meeting]:
    return [Meeting("the write", fault, SECRET, method="PATCH") for fault in faults or FAULTS]


def _restart(*faults: str) -> list[Meeting]:
    return [Meeting("the restart", fault, f"{DEPLOYMENTS}/*", method="PATCH") for fault in faults or FAULTS]


def _mesh(verb: Verb, era: str) -> Mesh:
    return ERAS[era]() if verb is Verb.TRANSITION else changed(era)


def _met(meeting: Meeting, verb: Verb, era: str) -> tuple[Meeting, Ended]:
    """Run into it, look at what must hold whatever happens, run again without it, and look at that."""
    with lively(_mesh(verb, era)) as server:
        before = root(server)
        meeting.arrange(server)
        patience = 60.0 if meeting.method == "PATCH" else 2.5  # after a write that failed, nothing is waited for
        request_timeout = 0.6 if meeting.fault == "silence" else 10.0
        ended = run(server, verb, request_timeout=request_timeout, timeout=patience)
        server.faults.clear()
        why = f"{meeting}: {ended.words}"
        assert ended.code in {0, 1, 2, 3}, why
        assert ended.line.strip(), why
        assert "\n" not in ended.line, why
        assert "Traceback" not in ended.words, why
        assert_whole(server)
        written = len(editions(server)) > 1
        if ended.code == 0:
            assert written, why
            assert set(ended.states.values()) == {"done"}, why
            assert behind(server) == [], why
        if written:
            assert root(server) != before, why
            assert is_edition(root(server), before), why
            _finished(server, verb, why)
    return meeting, ended


def _finished(server: Server, verb: Verb, why: str) -> None:
    """The next run names the state, and ends it; nothing is written to the Secret once more."""
    if not _restarted(server):
        seen = run(server, verb, apply=False)
        assert "the root in the Secret is not loaded yet" in seen.words, f"{why}\n{seen.words}"
    end = run(server, verb)
    assert end.code in {0, 1}, f"{why}\n{end.words}"
    if verb is Verb.TRANSITION:  # a second restore would be a change of its own
        assert len(editions(server)) == 2, f"{why}\n{end.words}"
    assert behind(server) == [], f"{why}\n{end.words}"
    assert_whole(server)


def _restarted(server: Server) -> bool:
    return any(
        "kubectl.kubernetes.io/restartedAt" in one["spec"]["template"]["metadata"].get("annotations", {})
        for one in server.objects("Deployment")
    )


def _all(meetings: list[Meeting], verb: Verb = Verb.TRANSITION, era: str = "istiod") -> dict[tuple[str, str], Ended]:
    """Each on a server of its own, some of them at a time: most of it is waiting."""
    _mesh(verb, era).objects()  # its keys are made once, and not by four threads at once
    with ThreadPoolExecutor(4) as pool:
        met = list(pool.map(lambda meeting: _met(meeting, verb, era), meetings))
    return {(meeting.name, meeting.fault): ended for meeting, ended in met}


def _codes(found: dict[tuple[str, str], Ended]) -> dict[str, int]:
    return {fault: ended.code for (_, fault), ended in found.items()}


class TestPlan:
    @pytest.mark.parametrize("fault", ["401", "403", "404", "429", "503", "cut", "silence"])
    def test_what_was_not_read_is_never_written_over(self, fault: str) -> None:
        found = _all(_meetings(READ, [fault]))
        done = {name for (name, _), ended in found.items() if ended.code == 0}
        assert done <= {"the namespaces", *PASSED.get(fault, ())}

    @pytest.mark.parametrize("fault", ["429", "503", "reset"])
    def test_what_passes_is_asked_again_and_nobody_notices(self, fault: str) -> None:
        with lively(ERAS["istiod"]()) as server:
            for meeting in _meetings(READ, [fault], times=1):
                meeting.arrange(server)
            ended = run(server)
            assert (ended.code, behind(server)) == (0, []), ended.words


class TestWrite:
    def test_each_answer_to_the_write_has_its_exit_code(self) -> None:
        found = _all(_write())
        refused = dict.fromkeys(("403", "404", "409", "410", "429"), 2)
        unknown = dict.fromkeys(("401", "500", "503", "reset", "silence"), 3)
        assert _codes(found) == {**refused, **unknown, "cut": 0, "slow": 0, "lost": 0}

    def test_a_refused_write_names_nothing_but_the_refusal(self) -> None:
        found = _all(_write("403", "409"))
        assert found["the write", "409"].states["write"] == "refused"
        assert "it was written by pilot-discovery" in found["the write", "409"].words
        assert all(re.search(r"^stopped after 0 of 3 steps", ended.line) for ended in found.values())

    def test_a_write_whose_answer_was_lost_is_looked_up_and_not_sent_again(self) -> None:
        with lively(ERAS["istiod"]()) as server:
            server.faults.add(Lost(), method="PATCH", path=SECRET)
            ended = run(server)
            sent = [one for one in server.requests if one.method == "PATCH" and one.path == SECRET]
            assert (ended.code, len(sent), behind(server)) == (0, 1, []), ended.words

    def test_each_answer_to_the_restart_leaves_a_secret_that_the_next_run_goes_on_with(self) -> None:
        found = _all(_restart())
        refused = dict.fromkeys(("403", "404", "409", "410", "429"), 2)
        unknown = dict.fromkeys(("401", "500", "503", "reset", "silence", "cut", "lost"), 3)
        assert _codes(found) == {**refused, **unknown, "slow": 0}


class TestFollowing:
    @pytest.mark.parametrize("fault", ["401", "403", "503", "cut", "silence"])
    def test_what_is_not_seen_has_not_arrived(self, fault: str) -> None:
        found = _all(_meetings(FOLLOWED, [fault], written=True))
        well_known = {"the control plane again"} if fault == "403" else set()  # its home is looked at then
        assert {name for (name, _), ended in found.items() if ended.code == 0} <= well_known

    @pytest.mark.parametrize("fault", ["429", "503", "reset"])
    def test_what_passes_is_looked_at_again(self, fault: str) -> None:
        with lively(ERAS["istiod"]()) as server:
            for meeting in _meetings(FOLLOWED, [fault], times=1, written=True):
                meeting.arrange(server)
            ended = run(server)
            assert (ended.code, behind(server)) == (0, []), ended.words


class TestRestore:
    def test_the_write_back_is_as_safe(self) -> None:
        found = _all(_write("403", "409", "500", "lost", "silence"), Verb.RESTORE)
        assert _codes(found) == {"403": 2, "409": 2, "500": 3, "lost": 0, "silence": 3}

    def test_whatever_it_meets_the_next_one_goes_on_and_does_not_swap_back(self) -> None:
        _all(
            [
                *_restart("403", "503", "lost"),
                *_meetings({"the Secret read back": (SECRET, 0)}, ["403", "503"], written=True),
                *_meetings({"the copies again": FOLLOWED["the copies again"]}, ["503"], written=True),
                *_meetings({name: READ[name] for name in ("the Secret of the CA", "the rights")}, ["503"]),
            ],
            Verb.RESTORE,
        )


class TestCitadel:
    def test_before_istiod_it_is_the_same(self) -> None:
        secrets = {"the workloads' Secrets": ("/api/v1/secrets", 0)}
        found = _all(
            [
                *_write("409", "lost", "503"),
                *_restart("403", "lost"),
                *_meetings(secrets, ["403", "503", "silence"], written=True),
            ],
            era="citadel",
        )
        assert found["the write", "lost"].code == 0
        assert {ended.code for (name, _), ended in found.items() if name == "the workloads' Secrets"} == {3}

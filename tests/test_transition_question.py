"""The question before a write: on a terminal it is asked, with the plan above it; without one nothing is written."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass, field
from select import select
from typing import TYPE_CHECKING

import pytest

from meshtrust.errors import Refused
from transitions import OLD, assert_whole, begun, certificate, changed, istiod, lively, root, run, typed, writes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sandbox import Server

QUESTION = "? [yes/no] "


@dataclass(slots=True)
class Sitting:
    """Who sits at the terminal of a process: what is read there, and what is typed."""

    process: subprocess.Popen[str]
    terminal: int
    seen: str = ""
    out: str = field(default="", init=False)

    def read_until(self, words: str) -> None:
        while words not in self.seen:
            read = self._read()
            assert read, f"{words!r} never came: {self.seen}"
            self.seen += read

    def type(self, keys: str) -> None:
        os.write(self.terminal, keys.encode())

    def answer(self, keys: str) -> int:
        self.type(keys)
        return self.end()

    def end(self) -> int:
        while read := self._read():
            self.seen += read
        assert self.process.stdout
        self.out = self.process.stdout.read()
        return self.process.wait(timeout=60)

    def _read(self) -> str:
        assert select([self.terminal], [], [], 30)[0], f"it says nothing more: {self.seen}"
        try:
            return os.read(self.terminal, 65536).decode().replace("\r\n", "\n")
        except OSError:  # EIO: the process has closed its side
            return ""


@contextmanager
def sitting(server: Server, *args: str) -> Iterator[Sitting]:
    """Start it with stdin and stderr on a terminal, and stdout in a pipe."""
    terminal, theirs = pty.openpty()
    process = begun(server, *args, stdin=theirs, stderr=theirs, stdout=subprocess.PIPE)
    os.close(theirs)
    try:
        yield Sitting(process, terminal)
    finally:
        process.kill()
        process.communicate()
        os.close(terminal)


class TestOnATerminal:
    def test_the_plan_stands_above_the_question_which_names_the_ca_and_the_context(self) -> None:
        with lively(istiod()) as server, sitting(server, "transition", "--apply") as person:
            person.read_until(QUESTION)
            above, _, question = person.seen.rpartition("\nwrite the root of ")
            assert question.startswith(
                "Secret istio-system/istio-ca-secret, restart Deployment istio-system/istiod, in "
            )
            assert f'context "sandbox" ({server.url})' in question
            assert ("NOW" in above, "key identifier" in above, "one guarded PATCH" in above) == (True, True, True)
            assert writes(server) == []
            assert person.answer("no\n") == 2

    def test_yes_goes_on(self) -> None:
        with lively(istiod()) as server, sitting(server, "transition", "--apply") as person:
            person.read_until(QUESTION)
            assert person.answer("yes\n") == 0
            assert "ok: 3 of 3 steps done" in person.out
            assert root(server) != certificate(OLD)
            assert_whole(server)

    @pytest.mark.parametrize("keys", ["no\n", "\x04"], ids=["no", "end of input"])
    def test_a_no_does_not_and_an_end_of_input_neither(self, keys: str) -> None:
        with lively(istiod()) as server, sitting(server, "transition", "--apply") as person:
            person.read_until(QUESTION)
            assert person.answer(keys) == 2  # 0 is for what is done: a script behind it must not go on
            assert "not applied: the answer was no" in person.out
            assert (writes(server), root(server)) == ([], certificate(OLD))

    @pytest.mark.parametrize("keys", ["\n", "yes please\n", "1\n"], ids=repr)
    def test_what_is_neither_yes_nor_no_is_no_yes(self, keys: str) -> None:
        with lively(istiod()) as server, sitting(server, "transition", "--apply") as person:
            person.read_until(QUESTION)
            person.type(keys)
            person.read_until(f"{QUESTION}{keys.strip()}\nwrite the root of ")  # it is asked again
            assert person.answer("no\n") == 2
            assert writes(server) == []

    def test_ctrl_c_at_the_question_writes_nothing(self) -> None:
        with lively(istiod()) as server, sitting(server, "transition", "--apply") as person:
            person.read_until(QUESTION)
            os.kill(person.process.pid, signal.SIGINT)
            assert person.end() == 130
            assert "Traceback" not in person.seen + person.out
            assert writes(server) == []

    def test_restore_asks_as_well(self) -> None:
        with lively(changed()) as server, sitting(server, "restore", "--apply") as person:
            person.read_until(QUESTION)
            assert person.answer("no\n") == 2
            assert writes(server) == []

    def test_what_is_blocked_is_not_asked_about(self) -> None:
        with lively(istiod()) as server:
            server.change("Secret", "istio-system", "istio-ca-secret", {"immutable": True})
            with sitting(server, "transition", "--apply") as person:
                assert person.end() == 2
                assert QUESTION not in person.seen

    def test_with_yes_there_is_no_question(self) -> None:
        with lively(istiod()) as server, sitting(server, "transition", "--apply", "--yes") as person:
            assert person.end() == 0
            assert QUESTION not in person.seen


class TestWithoutOne:
    @pytest.mark.parametrize("verb", ["transition", "restore"])
    def test_without_yes_it_is_refused_before_anything_is_asked(self, verb: str) -> None:
        with lively(changed()) as server:
            done = typed(server, verb, "--apply")
            assert (done.returncode, done.stdout) == (64, "")
            assert done.stderr == (
                "error: --apply asks before it writes, and there is no terminal to ask on - --yes answers it\n"
            )
            assert server.requests == ()

    def test_an_answer_from_a_pipe_is_none(self) -> None:
        with lively(istiod()) as server:
            done = typed(server, "transition", "--apply", stdin=None, input="yes\n")
            assert (done.returncode, server.requests) == (64, ())


def test_while_somebody_thinks_another_one_may_write_and_then_it_is_not_overwritten() -> None:
    with lively(istiod()) as server:

        def slow(_question: str) -> bool:
            server.change("Secret", "istio-system", "istio-ca-secret", {"metadata": {"labels": {"team": "mesh"}}})
            return True

        ended = run(server, ask=slow)
        assert (ended.code, root(server)) == (2, certificate(OLD)), ended.words


def test_the_question_is_asked_once_and_a_no_is_a_refusal() -> None:
    asked = []

    def no(question: str) -> bool:
        asked.append(question)
        return False

    with lively(istiod()) as server:
        ended = run(server, ask=no)
        assert (ended.code, len(asked), len(ended.shown)) == (Refused.status, 1, 1)
        assert writes(server) == []

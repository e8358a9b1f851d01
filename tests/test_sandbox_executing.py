"""Exec by a real kubectl of the agent beside the pretend Envoys."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from admin import LEDGER, PODS
from asking import KUBECTLS, kubectl

if TYPE_CHECKING:
    import subprocess

    from meshtrust.objects import Ref
    from sandbox import Server

AGENT = ("pilot-agent", "request", "GET")


def executed(server: Server, pod: Ref, *words: str, command: str = KUBECTLS[0]) -> subprocess.CompletedProcess[str]:
    where = ("exec", "-n", pod.namespace, pod.name, "-c", "istio-proxy", "--")
    return kubectl(server, *where, *words, command=command)


@pytest.mark.parametrize("command", KUBECTLS)
def test_the_agent_prints_what_its_envoy_answers_behind_a_line_of_its_own(server: Server, command: str) -> None:
    done = executed(server, LEDGER, *AGENT, "certs", command=command)
    log, _, answer = done.stdout.partition("\n")
    assert (done.returncode, done.stderr, log.split("\t")[1]) == (0, "", "warn")
    assert json.loads(answer)["certificates"]


def test_an_unknown_page_is_printed_as_envoy_words_it(server: Server) -> None:
    done = executed(server, LEDGER, *AGENT, "nonsense")
    assert done.returncode == 0
    assert done.stdout.endswith("invalid path. admin commands are:\n\n")


def test_a_refused_connection_is_its_failure(server: Server) -> None:
    done = executed(server, PODS["deaf"], *AGENT, "certs")
    assert (done.returncode, done.stdout) == (1, "")
    assert "connect: connection refused" in done.stderr


@pytest.mark.parametrize(("name", "words"), [("ztunnel", (*AGENT, "config_dump")), ("ledger", ("curl", "localhost"))])
def test_what_is_not_in_the_image_is_not_found(server: Server, name: str, words: tuple[str, ...]) -> None:
    done = executed(server, PODS[name], *words)
    assert done.returncode == 1
    assert f'exec: "{words[0]}": executable file not found in $PATH' in done.stderr


@pytest.mark.parametrize(
    ("verb", "words"), [("get", ': User "tester" cannot get resource "pods/exec"'), ("create", ": \n")]
)
def test_it_can_be_forbidden(server: Server, verb: str, words: str) -> None:
    server.forbid(verb, "pods/exec", namespace="bank")
    done = executed(server, LEDGER, *AGENT, "certs")
    assert done.returncode == 1
    assert f'Error from server (Forbidden): pods "{LEDGER.name}" is forbidden{words}' in done.stderr

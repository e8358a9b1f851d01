"""Whatever meets a request of istio-certverify: what was not seen is told, and nothing that was not seen is fine."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count, repeat
from time import monotonic
from typing import TYPE_CHECKING, Any, Literal

import pytest

from meshes import RENEWED, ROOT, STRANGE, citadel
from meshtrust.errors import ToolError
from sandbox import (
    Account,
    Answer,
    Authority,
    Cut,
    Edit,
    Identity,
    Leaf,
    Lost,
    Mesh,
    Namespace,
    Proxy,
    Reset,
    Silence,
    Slow,
)
from sandbox.server import serve
from transitions import typed
from verified_meshes import OLD_CITADEL_ROOT, edited, holding, hours, proxies
from verifying import levels, live

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from meshtrust.report import Report
    from sandbox.faults import Fault, Request
    from sandbox.server import Server

# Where something is wrong in each half, which nothing may hide.
MESHES: Mapping[str, Mesh] = {
    "istiod": proxies(
        holding(ROOT),
        ca=Authority(root=RENEWED),
        namespaces=(Namespace("bank"), Namespace("shop", publishes=(ROOT,))),
    ),
    "citadel": citadel(
        namespaces=(Namespace("bank", accounts=(Account("default", holds=(OLD_CITADEL_ROOT,)), Account("ledger"))),),
        proxies=(Proxy("ledger", "bank"), Proxy("slow", "bank", leaf=Leaf(ends=hours(-1)))),
    ),
}
WRONG: Mapping[str, Mapping[str, str]] = {
    "istiod": {"copies-agree": "warning", "root-held": "warning"},
    "citadel": {"root-held": "warning", "leaf-valid": "critical"},
}
FAULTS: Mapping[str, Fault] = {
    "302": Answer(302),
    "401": Answer(401),
    "403": Answer(403),
    "410": Answer(410),
    "429": Answer(429, retry_after=0),
    "500": Answer(500),
    "503": Answer(503),
    "not-kubernetes": Answer(200, body="{}"),
    "html": Answer(200, body="<html>", content_type="text/html"),
    "cut": Cut(),
    "lost": Lost(),
    "reset": Reset(),
    "silence": Silence(),
    "slow": Slow(bytes=4096, pause=0.001),
}


# One proxy of many, by the command line.


def bad(kind: Literal["sidecar", "ztunnel"], answers: Any) -> Mesh:
    identities = (Identity("cart", "shop"),) if kind == "ztunnel" else ()
    return proxies(Proxy("bad", "shop", kind, answers=answers, identities=identities))


def told(server: Server, output: str = "json") -> tuple[int, str]:
    done = typed(server, "-o", output, "--request-timeout", "1s", module="istio_certverify")
    assert done.stderr == ""
    return done.returncode, done.stdout


REASONS = {
    "refuses": "nothing listens at port 15000",
    "hangs": "no whole answer from the proxy within 1s",
    "resets": "the proxy reset the connection",
    "busy": "the proxy answered 503 Service Unavailable to config_dump",
    "cut": "the proxy gave only a part of config_dump",
    "garbage": "its admin interface answered with something that is not JSON",
    "reshaped": "its admin interface answered in a shape that is not known",
    "moved": "the proxy answered 302 Found to config_dump",
}


@pytest.mark.parametrize("kind", ["sidecar", "ztunnel"])
@pytest.mark.parametrize("answers", REASONS)
def test_one_bad_proxy_of_many_is_unknown_with_its_reason_and_the_others_are_judged(
    kind: Literal["sidecar", "ztunnel"], answers: str
) -> None:
    with serve(bad(kind, answers)) as server:
        code, output = told(server)
    rows = json.loads(output)["rows"]
    unseen = [row for row in rows if row["level"] == "unknown"]
    assert [(row["place"].startswith("Pod shop/bad-"), row["detail"]) for row in unseen] == [(True, REASONS[answers])]
    assert (code, len(rows), {row["level"] for row in rows}) == (3, 15, {"ok", "unknown"})


@pytest.mark.parametrize("kind", ["sidecar", "ztunnel"])
def test_twenty_megabytes_of_one_proxy_are_read_and_judged(kind: Literal["sidecar", "ztunnel"]) -> None:
    with serve(bad(kind, "large")) as server:
        code, output = told(server)
    found = json.loads(output)
    assert (code, found["status"], len(found["rows"])) == (0, "ok", 15)


THROUGH_THE_AGENT = {
    **REASONS,
    "busy": "pilot-agent gave no answer: Error: received unsuccessful status code 503: no healthy upstream",
    "moved": "pilot-agent gave no answer: Error: 302 response missing Location header",
    "cut": "pilot-agent gave no answer: it ended without a word",
}


@pytest.mark.parametrize("answers", THROUGH_THE_AGENT)
def test_what_the_agent_meets_in_the_place_of_a_port_is_said_likewise(answers: str) -> None:
    with serve(bad("sidecar", answers)) as server:
        server.access.forbid("*", "pods/portforward", namespace="shop")
        code, output = told(server)
    unseen = [row["detail"] for row in json.loads(output)["rows"] if row["level"] == "unknown"]
    assert (code, unseen) == (3, [THROUGH_THE_AGENT[answers]])


def test_bad_proxies_of_all_kinds_are_told_in_a_line_each_beside_what_is_wrong() -> None:
    strangers = tuple(Proxy(f"bad-{answers}", "shop", answers=answers) for answers in REASONS)  # type: ignore[arg-type]  # its literals
    with serve(proxies(*strangers, holding(STRANGE, signed_by=STRANGE))) as server:
        code, output = told(server, "table")
    lines = output.splitlines()
    for answers, why in REASONS.items():
        assert sum(f"shop/bad-{answers}-" in line and line.endswith(f": not seen: {why}") for line in lines) == 1
    assert (code, lines[-1].partition(",")[0]) == (2, "critical: checked 15 of 23")


AGAIN = (
    "try again: the pod may have been restarted meanwhile; its log knows more: kubectl logs POD -n shop -c istio-proxy"
)
OTHER_PORT = "is it still starting, or is proxyAdminPort another one here?"
LOOK = "look by hand: kubectl exec POD -n shop -c istio-proxy -- pilot-agent request GET certs"
HINTS = {
    "refuses": OTHER_PORT,
    "hangs": (
        "--request-timeout 60s waits longer, 0 without an end; if it hangs for good, its log knows more: "
        "kubectl logs POD -n shop -c istio-proxy"
    ),
    "resets": AGAIN,
    "busy": AGAIN,
    "cut": AGAIN,
    "garbage": LOOK,
    "reshaped": LOOK,
    "moved": (
        "it may be of another kind, or of a version that does not know this page; look by hand: "
        "kubectl port-forward POD 15000 -n shop, and beside it: curl -i localhost:15000/config_dump"
    ),
}


@pytest.mark.parametrize("answers", HINTS)
def test_what_to_do_about_bad_proxies_of_one_kind_is_said_once(answers: Any) -> None:
    with serve(proxies(*(Proxy("bad", "shop", answers=answers) for _ in range(3)))) as server:
        _, output = told(server, "table")
        _, as_json = told(server)
    lines = output.splitlines()
    (at,) = (number for number, line in enumerate(lines) if line.endswith(f": not seen: {REASONS[answers]}"))
    pod = lines[at].split()[1].removeprefix("shop/")
    assert lines[at + 1] == f"  -> {HINTS[answers].replace('POD', pod)}"
    assert sum(line.startswith("  -> ") for line in lines) == 1
    unseen = json.loads(as_json)["findings"][0]["unseen"]
    pods = [gap["place"].removeprefix("Pod shop/") for gap in unseen]
    assert [gap["hint"] for gap in unseen] == [HINTS[answers].replace("POD", pod) for pod in pods]


def test_what_to_do_about_two_reasons_alike_is_said_once() -> None:
    silent = proxies(*(Proxy(name, "shop", answers="refuses") for name in ("bad", "other")))
    port = {"metadata": {"annotations": {"proxy.istio.io/config": "proxyAdminPort: 15099"}}}
    with serve(edited(silent, "other", port)) as server:
        _, output = told(server, "table")
    said = [line.rpartition(": ")[2] for line in output.splitlines() if ": not seen: " in line]
    hints = [line for line in output.splitlines() if line.startswith("  -> ")]
    assert (sorted(said), hints) == ([f"nothing listens at port {at}" for at in (15000, 15099)], [f"  -> {OTHER_PORT}"])


def test_a_ztunnel_that_makes_no_sense_is_looked_at_through_a_port() -> None:
    with serve(bad("ztunnel", "garbage")) as server:
        _, output = told(server, "table")
    (hint,) = (line for line in output.splitlines() if line.startswith("  -> "))
    assert hint.startswith("  -> look by hand: kubectl port-forward bad-")
    assert hint.endswith(" -n shop 15000, and beside it: curl -i localhost:15000/config_dump")


# Each request to the API server.


@dataclass(frozen=True, slots=True)
class Meeting:
    """A fault, and the request that meets it, with all of its path that come after it."""

    path: str
    passed: int
    fault: str

    def arrange(self, server: Server, times: int | None = None) -> None:
        seen = count()
        server.faults.add(FAULTS[self.fault], path=self.path, when=lambda _: next(seen) >= self.passed, times=times)


def requests_of(server: Server) -> Iterator[tuple[str, int]]:
    """Every request of a run, as a pattern, and how many like it came before."""
    before: dict[str, int] = {}
    for request in server.requests:
        path = "*/portforward" if request.path.endswith("/portforward") else request.path
        number = before.setdefault(path, 0)
        before[path] += 1
        if path != "*/portforward" or number == 0:
            yield path, number


def met(mesh: Mesh, meeting: Meeting) -> Report | str:
    """Run into it: the report, or why there is none."""
    with serve(mesh) as server:
        meeting.arrange(server)
        try:
            return live(server, request_timeout=0.3 if meeting.fault == "silence" else 10.0)
        except ToolError as error:
            return error.message


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("era", MESHES)
def test_a_fault_that_lasts_hides_nothing(era: str, fault: str) -> None:
    with serve(MESHES[era]) as server:
        wanted = live(server)
        meetings = [Meeting(*request, fault) for request in requests_of(server)]
    assert levels(wanted) == WRONG[era]
    with ThreadPoolExecutor(8) as pool:  # most of it is waiting
        for meeting, found in zip(meetings, pool.map(met, repeat(MESHES[era]), meetings), strict=False):
            if isinstance(found, str):
                assert found.isprintable(), meeting
            elif not any(one.unseen for one in found.findings):
                assert (found.rows, found.status) == (wanted.rows, wanted.status), meeting


@pytest.mark.parametrize("fault", ["429", "503", "lost", "reset"])
@pytest.mark.parametrize("era", MESHES)
def test_a_fault_on_each_request_that_passes_is_not_noticed(era: str, fault: str) -> None:
    with serve(MESHES[era]) as server:
        wanted = live(server)
        for path, number in tuple(requests_of(server)):
            Meeting(path, number, fault).arrange(server, times=1)
        found = live(server)
    assert (found.rows, found.status) == (wanted.rows, wanted.status)


@contextmanager
def limited(server: Server, path: str, seconds: int) -> Iterator[None]:
    """Refuse what comes before as much time is over as the first was told to let pass."""
    first: list[float] = []

    def early(_: Request) -> bool:
        first.append(monotonic())
        return monotonic() < first[0] + seconds

    server.faults.add(Answer(429, retry_after=seconds), path=path, when=early)
    yield
    assert first
    server.faults.clear()


@pytest.mark.parametrize("path", ["/api/v1/configmaps", "*/pods/ledger-*/portforward"])
def test_a_server_that_asks_for_patience_is_given_it(path: str) -> None:
    with serve(MESHES["istiod"]) as server:
        wanted = live(server)
        with limited(server, path, 2):
            assert live(server).rows == wanted.rows


# A list that is forgotten halfway.

TEAMS = tuple(Namespace(f"team-{number:03}") for number in range(520))
ACCOUNTS = tuple(Account(f"team-{number:03}") for number in range(520))
CROWDS: Mapping[str, Mesh] = {  # longer than a page, and what is wrong is on the second one
    "*/pods": proxies(*(Proxy("idle", "shop", phase="Pending") for _ in range(520)), holding(STRANGE, name="zzz")),
    "*/configmaps": proxies(namespaces=(*TEAMS, Namespace("zzz", publishes=(STRANGE,)))),
    "*/namespaces": proxies(namespaces=(*TEAMS, Namespace("zzz", publishes=()))),
    "*/secrets": citadel(namespaces=(Namespace("bank", accounts=(*ACCOUNTS, Account("zzz", holds=(STRANGE,)))),)),
    "*/serviceaccounts": citadel(
        namespaces=(Namespace("bank", accounts=(*ACCOUNTS, Account("zzz"))),),
        edits=(Edit(kind="Secret", namespace="bank", name="istio.zzz"),),
    ),
}


@pytest.mark.parametrize("path", CROWDS)
def test_a_list_that_was_forgotten_halfway_loses_and_doubles_nothing(path: str) -> None:
    with serve(CROWDS[path]) as server:
        server.shorten_pages(500)
        wanted = live(server)
        assert levels(wanted)
        expired: list[Request] = []
        server.on(lambda request: expired.append(request) or server.compact(), path=path, query={"continue": "?*"})  # type: ignore[func-returns-value]  # both are done
        found = live(server)
    assert len(expired) == 1
    places = [row["place"] for row in found.rows]
    assert (found.rows, levels(found), len(set(places))) == (wanted.rows, levels(wanted), len(places))


# What changes in the middle.


def test_a_namespace_that_is_deleted_before_its_proxies_are_asked_is_not_missed() -> None:
    mesh = proxies(Proxy("late", "gone"), namespaces=(Namespace("bank"), Namespace("shop"), Namespace("gone")))
    with serve(mesh) as server:
        server.on(lambda _: server.become(proxies()), path="*/namespaces/gone/pods/*/portforward")
        code, output = told(server)
    rows = json.loads(output)["rows"]
    assert (code, {row["level"] for row in rows}) == (0, {"ok"})
    assert not [row for row in rows if row["kind"] == "live" and "gone/" in row["place"]]


@pytest.mark.parametrize("path", ["/api/v1/configmaps", "/api/v1/namespaces"])
@pytest.mark.parametrize("after", [False, True])
def test_a_namespace_that_is_deleted_while_copies_are_read_lacks_none(path: str, *, after: bool) -> None:
    mesh = proxies(namespaces=(Namespace("bank"), Namespace("shop"), Namespace("gone")))
    with serve(mesh) as server:
        server.on(lambda _: server.become(proxies()), path=path, after=after)
        code, _ = told(server)
    assert code == 0


def test_a_pod_that_is_replaced_before_it_is_asked_is_asked_in_its_new_place() -> None:
    old, new = (proxies(Proxy("web", "late", account=account)) for account in ("old", "new"))
    ((pod, _),) = ((name, proxy) for (_, name), proxy in old.pods().items() if proxy.namespace == "late")
    with serve(old) as server:
        server.on(lambda _: server.become(new), path=f"*/namespaces/late/pods/{pod}/portforward")
        code, output = told(server)
    rows = [row for row in json.loads(output)["rows"] if row["place"].startswith("Pod late/")]
    assert (code, len(rows)) == (0, 1)


def test_a_workloads_secret_that_is_deleted_meanwhile_is_neither_missed_nor_doubled() -> None:
    accounts = (Account("default"), Account("ledger"))
    before, after = (
        citadel(namespaces=(Namespace("bank", accounts=accounts[:number]),), proxies=()) for number in (2, 1)
    )
    with serve(before) as server:
        server.on(lambda _: server.become(after), path="/api/v1/secrets")
        found = live(server, live=False)
    assert (str(found.status), levels(found)) == ("ok", {})

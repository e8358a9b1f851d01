"""`--wait`: who has not moved is asked again, until all have or time is up."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from itertools import count
from math import inf
from threading import Timer
from typing import TYPE_CHECKING, Any

import pytest

from meshes import NOW, RENEWED, ROOT, istiod
from meshtrust.cluster import Cluster, Connection
from meshtrust.errors import UsageError
from meshtrust.reading import Reading
from meshtrust.source import Scope
from meshtrust.verification.fleet import Targets
from meshtrust.verification.verifying import Wish, verify
from sandbox import Answer, Authority, Identity, Leaf, Proxy, Reset
from sandbox.server import serve
from transitions import typed
from verifying import live, recorded

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from sandbox import Mesh
    from sandbox.faults import Fault
    from sandbox.server import Server

OLD = Proxy("old", "shop", holds=(ROOT,))
YOUNG = Proxy("young", "shop")


def mesh(*proxies: Proxy) -> Mesh:
    return istiod(ca=Authority(root=RENEWED), proxies=proxies)


def test_it_ends_when_the_last_proxy_has_moved() -> None:
    with serve(mesh(YOUNG, OLD)) as server:
        Timer(1.5, server.become, [mesh(YOUNG, replace(OLD, holds=None))]).start()
        found = live(server, wait=True, timeout=60.0)
    assert str(found.status) == "ok"


def test_only_those_that_had_not_moved_are_asked_again() -> None:
    with serve(mesh(YOUNG, OLD)) as server:
        live(server, wait=True, timeout=3.0)
        asked = [request.path for request in server.requests if request.path.endswith("/portforward")]
    assert sum("/young-" in path for path in asked) == 1
    assert sum("/old-" in path for path in asked) > 1


def test_when_time_is_up_what_is_left_is_a_warning_where_all_were_seen() -> None:
    with serve(mesh(YOUNG, OLD)) as server:
        found = live(server, wait=True, timeout=2.0)
    assert (str(found.status), found.verdict.partition(";")[0]) == ("warning", "checked 8 of 8, 1 has not moved yet")


def test_when_time_is_up_what_was_not_seen_is_unknown() -> None:
    with serve(mesh(YOUNG, OLD, Proxy("mute", "shop", answers="refuses"))) as server:
        found = live(server, wait=True, timeout=2.0)
    assert str(found.status) == "unknown"


def test_without_a_timeout_it_ends_when_the_last_one_should_have_moved() -> None:
    # 4 minutes and 50 seconds of a life: half of it, one hundredth and two minutes are over in a second or two.
    leaf = Leaf(issued=timedelta(seconds=-268), ends=timedelta(seconds=22))
    with serve(mesh(YOUNG, replace(OLD, leaf=leaf))) as server:
        found = live(server, wait=True)
    assert str(found.status) == "warning"


def test_a_pod_that_came_meanwhile_counts_and_one_that_went_does_not() -> None:
    with serve(mesh(YOUNG, OLD)) as server:
        Timer(1.5, server.become, [mesh(YOUNG, Proxy("new", "shop"))]).start()
        found = live(server, wait=True, timeout=60.0)
    pods = {row["place"].split("-")[0] for row in found.rows if row["kind"] == "live"}
    assert (str(found.status), pods) == ("ok", {"Pod shop/young", "Pod shop/new"})


def test_a_ztunnel_has_moved_when_all_its_identities_have() -> None:
    def ztunnel(*holds: object) -> Proxy:
        identities = (Identity("cart"), Identity("audit", holds=holds or None))  # type: ignore[arg-type]  # of Ca
        return Proxy("ztunnel", "istio-system", "ztunnel", identities=identities)

    with serve(mesh(ztunnel(ROOT))) as server:
        Timer(1.5, server.become, [mesh(ztunnel())]).start()
        found = live(server, wait=True, timeout=60.0)
    assert str(found.status) == "ok"


# What fails while it waits, by the command line.


def typed_json(server: Server, *args: str) -> tuple[int, dict[str, Any]]:
    done = typed(server, *args, "-o", "json", module="istio_certverify")
    assert done.stderr == ""
    return done.returncode, json.loads(done.stdout)


def pods_fail(server: Server, fault: Fault, *, until: float = inf) -> None:
    """The list of all pods is given once, and from then on not, up to a number of requests."""
    number = count()
    server.faults.add(fault, path="/api/v1/pods", query={"labelSelector": ""}, when=lambda _: 0 < next(number) <= until)


@pytest.mark.parametrize("fault", [Answer(503), Answer(401), Reset()], ids=["503", "401", "reset"])
def test_a_short_outage_of_the_api_server_does_not_end_it(fault: Fault) -> None:
    with serve(mesh(YOUNG, OLD)) as server:
        pods_fail(server, fault, until=1 if fault == Answer(401) else 3)
        Timer(1.5, server.become, [mesh(YOUNG, replace(OLD, holds=None))]).start()
        code, found = typed_json(server, "--wait", "--timeout", "60s")
    assert (code, found["status"]) == (0, "ok")


def test_where_the_last_looks_fail_what_was_seen_before_them_stands_beside_a_gap() -> None:
    with serve(mesh(YOUNG, OLD)) as server:
        pods_fail(server, Answer(503))
        code, found = typed_json(server, "--wait", "--timeout", "4s")
    proxies = {row["place"].partition("-")[0]: row["level"] for row in found["rows"] if row["kind"] == "live"}
    assert (code, proxies) == (3, {"Pod shop/old": "warning", "Pod shop/young": "ok"})
    (held,) = (one for one in found["findings"] if one["check"] == "root-held")
    assert [one["place"] for one in held["unseen"]] == ["Pod *"]


# What no time brings.

NEVER: Mapping[str, Proxy] = {
    "proxyless": Proxy("never", "shop", "proxyless"),
    "agentgateway": Proxy("never", "shop", "agentgateway"),
}


@pytest.mark.parametrize("kind", NEVER)
def test_what_can_never_be_asked_is_not_waited_for(kind: str) -> None:
    with serve(mesh(YOUNG, NEVER[kind])) as server:
        code, found = typed_json(server, "--wait", "--timeout", "1h")
    unknown = [row["place"].partition("-")[0] for row in found["rows"] if row["level"] == "unknown"]
    assert (code, unknown) == (3, ["Pod shop/never"])


def test_what_may_not_be_asked_is_not_waited_for() -> None:
    with serve(mesh(YOUNG, OLD)) as server:
        for way in ("portforward", "exec"):
            server.forbid("*", f"pods/{way}")
        code, _found = typed_json(server, "--wait", "--timeout", "1h")
    assert code == 3


def test_a_pod_that_is_about_to_run_is_waited_for() -> None:
    with serve(mesh(YOUNG, Proxy("new", "shop", phase="Pending"))) as server:
        Timer(1.5, server.become, [mesh(YOUNG, Proxy("new", "shop"))]).start()
        code, _found = typed_json(server, "--wait", "--timeout", "60s")
    assert code == 0


def test_the_line_that_tells_how_far_it_is_tells_the_unseen_apart_from_the_late() -> None:
    lines: list[str] = []
    proxies = (YOUNG, OLD, Proxy("mute", "shop", answers="refuses"), NEVER["proxyless"])
    with serve(mesh(*proxies)) as server, Cluster(Connection(kubeconfig=str(server.kubeconfig))) as cluster:
        wish = Wish(stored=False, live=True, targets=Targets.read(()), wait=True, timeout=2.0)
        verify(Reading(cluster, Scope(), NOW, (), lines.append), wish)
    said = {line.rpartition(",")[0] for line in lines if "moved" in line}
    assert said == {"1 of 4 proxies have not moved yet, 1 not seen"}


def test_a_recording_does_not_move(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="a recording does not move"):
        recorded(mesh(YOUNG), tmp_path, wait=True)

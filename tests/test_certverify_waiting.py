"""`--wait`: who has not moved is asked again, until all have or time is up."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from threading import Timer
from typing import TYPE_CHECKING

import pytest

from meshes import RENEWED, ROOT, istiod
from meshtrust.errors import UsageError
from sandbox import Authority, Identity, Leaf, Proxy
from sandbox.server import serve
from verifying import live, recorded

if TYPE_CHECKING:
    from pathlib import Path

    from sandbox import Mesh

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


def test_a_recording_does_not_move(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="a recording does not move"):
        recorded(mesh(YOUNG), tmp_path, wait=True)

"""`--wait` on what is stored: it is read again until istiod has brought it up to date, and told as it is at the end."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from threading import Timer
from typing import TYPE_CHECKING

import pytest

from istio_certverify.saying import say
from meshes import CITADEL_ROOT, NOW, RENEWED, ROOT, STRANGE, TEAMS, citadel, istiod
from meshtrust.cluster import Cluster, Connection
from meshtrust.reading import Reading
from meshtrust.source import Scope
from meshtrust.verification.fleet import Targets
from meshtrust.verification.verifying import Wish, verify
from sandbox import Account, Authority, ControlPlane, Leaf, Namespace, Proxy
from sandbox.faults import Answer
from sandbox.server import serve
from transitions import typed
from verifying import details, levels, live

if TYPE_CHECKING:
    from sandbox import Mesh
    from sandbox.server import Server

OLD = Proxy("old", "shop", holds=(ROOT,))
YOUNG = Proxy("young", "shop")
NOT_LOADED = {"ca-loaded": "warning"}


def loaded(*proxies: Proxy, **parts: object) -> Mesh:
    return istiod(**({"ca": Authority(root=RENEWED), "proxies": proxies} | parts))


def not_loaded(*proxies: Proxy) -> Mesh:
    """The Secret holds the same root, extended; all that is published holds what istiod has in memory."""
    published = tuple(Namespace(name, publishes=(ROOT,)) for name in ("istio-system", "bank", "shop"))
    return loaded(*proxies, namespaces=published, control_planes=(ControlPlane(ca_bundle=(ROOT,)),))


def readings(server: Server) -> int:
    return sum(request.path.endswith("/mutatingwebhookconfigurations") for request in server.requests)


def test_proxies_are_held_against_what_istiod_has_loaded_by_then() -> None:
    soon = Leaf(issued=timedelta(seconds=-268), ends=timedelta(seconds=60))  # nothing is left to wait for
    with serve(not_loaded(replace(OLD, leaf=soon))) as server:
        Timer(1.5, server.become, [loaded(replace(OLD, leaf=soon))]).start()
        found = levels(live(server, wait=True))
    assert found.pop("root-held") == "warning"
    assert NOT_LOADED.keys().isdisjoint(found)


def test_it_ends_when_both_halves_have_moved() -> None:
    with serve(not_loaded(OLD)) as server:
        Timer(1.5, server.become, [loaded(OLD)]).start()
        Timer(7.5, server.become, [loaded(YOUNG)]).start()
        found = live(server, wait=True, timeout=60.0)
    assert levels(found) == {}


def test_one_fine_reading_after_others_is_not_enough() -> None:
    with serve(not_loaded()) as server:
        Timer(1.5, server.become, [loaded()]).start()
        found = live(server, live=False, wait=True)
        assert readings(server) > 2
    assert levels(found) == {}


@pytest.mark.parametrize(
    "parts",
    [
        {},
        {"namespaces": (Namespace("bank", publishes=(STRANGE,)), TEAMS[1])},
        {"namespaces": (Namespace("bank", terminating=True, publishes=(ROOT,)), TEAMS[1])},
        {"control_planes": (ControlPlane(), ControlPlane(revision="gone", replicas=0, ca_bundle=(ROOT,)))},
        {"control_planes": (ControlPlane(ca_bundle=(STRANGE,)),)},
    ],
    ids=["healthy", "another-key", "a-namespace-that-ends", "an-orphan", "a-webhook-of-another-key"],
)
def test_what_time_does_not_mend_is_not_waited_for(parts: dict[str, object]) -> None:
    with serve(loaded(**parts)) as server:
        waited = levels(live(server, live=False, wait=True))
        assert readings(server) == 1
        assert waited == levels(live(server, live=False))


def test_where_nothing_moves_the_proxies_are_asked_in_the_rest_of_the_time() -> None:
    with serve(not_loaded(OLD)) as server:
        found = live(server, wait=True, timeout=6.0)
    assert (levels(found), found.verdict.partition(",")[0]) == (NOT_LOADED, "checked 8 of 8")


def test_only_what_proxies_hold_is_held_against_what_is_loaded_by_then_too() -> None:
    with serve(not_loaded(YOUNG)) as server:
        Timer(1.5, server.become, [loaded(YOUNG)]).start()
        found = live(server, stored=False, wait=True, timeout=60.0)
    assert levels(found) == {}


def test_what_is_stored_is_told_as_it_is_at_the_end() -> None:
    with serve(loaded(OLD)) as server:
        late = loaded(YOUNG, namespaces=(Namespace("bank", publishes=(ROOT,)), TEAMS[1]))
        Timer(1.5, server.become, [late]).start()
        found = live(server, wait=True, timeout=60.0)
    assert levels(found) == {"copies-agree": "warning"}


def test_what_citadel_has_worked_through_meanwhile_is_told_as_moved() -> None:
    older = replace(CITADEL_ROOT, starts=timedelta(days=-366), ends=timedelta(days=3000))
    behind = (Namespace("bank", accounts=(Account("default", holds=(older,)),)), TEAMS[1])
    web, begun = Proxy("web", "shop", "gateway", holds=(older,)), (ControlPlane(started=timedelta(0)),)
    with serve(citadel(namespaces=behind, proxies=(web,), control_planes=begun)) as server:
        Timer(1.5, server.become, [citadel(proxies=(Proxy("web", "shop", "gateway"),))]).start()
        found = live(server, wait=True, timeout=60.0)
    assert levels(found) == {}


def test_where_the_root_changes_meanwhile_every_proxy_is_held_against_the_new_one() -> None:
    with serve(loaded(YOUNG, OLD)) as server:
        Timer(1.5, server.become, [loaded(YOUNG, OLD, ca=Authority(root=ROOT))]).start()
        found = live(server, wait=True, timeout=60.0)
    trusted = {tuple(row["trusts"]) for row in found.rows if row["kind"] == "live"}
    assert (levels(found), len(trusted)) == ({}, 1)


@pytest.mark.parametrize("path", ["*/configmaps", "*"])
def test_what_cannot_be_read_again_is_unknown_and_what_was_seen_still_told(path: str) -> None:
    with serve(not_loaded()) as server:
        Timer(1.5, server.faults.add, [Answer(403)], {"path": path}).start()
        found = live(server, live=False, wait=True, timeout=6.0)
    assert levels(found).items() >= {"ca-loaded": "unknown", "copies-agree": "unknown"}.items()
    assert any(detail.startswith("not loaded") for detail in details(found).values())


def test_an_interruption_leaves_what_was_read_until_then() -> None:
    lines: list[str] = []

    def interrupt(line: str) -> None:
        lines.append(line)
        if line.startswith("stored: 1 not moved yet"):
            raise KeyboardInterrupt

    with serve(not_loaded()) as server, Cluster(Connection(kubeconfig=str(server.kubeconfig))) as cluster:
        wish = Wish(stored=True, live=False, targets=Targets.read(()), wait=True)
        found = say(verify(Reading(cluster, Scope(), NOW, (), interrupt), wish))
    assert (found.interrupted, levels(found)["ca-loaded"], lines[-1]) == (True, "warning", "")


def behind_citadel() -> Mesh:
    older = replace(CITADEL_ROOT, starts=timedelta(days=-366), ends=timedelta(days=3000))
    late = Namespace("bank", accounts=(Account("default", holds=(older,)),))
    return citadel(namespaces=(late, TEAMS[1]), control_planes=(ControlPlane(started=timedelta(0)),))


def test_citadel_is_given_the_time_that_it_needs_for_its_secrets() -> None:
    with serve(behind_citadel()) as server:
        assert levels(live(server, live=False)) == {"root-held": "warning"}
        Timer(1.5, server.become, [citadel()]).start()
        found = live(server, live=False, wait=True)
    assert levels(found) == {}


def test_a_citadel_that_does_not_work_is_waited_for_until_time_is_up_and_told_whole() -> None:
    with serve(behind_citadel()) as server:
        at_once = live(server, live=False)
        waited = live(server, live=False, wait=True, timeout=5.0)
        looks = sum("key-and-cert" in request.query.get("fieldSelector", "") for request in server.requests)
    assert (levels(waited), len(waited.rows)) == ({"root-held": "warning"}, len(at_once.rows))
    assert looks > 2


def test_where_the_secrets_cannot_be_listed_again_what_was_seen_of_them_stands_beside_a_gap() -> None:
    number = count()
    with serve(replace(behind_citadel(), now=datetime.now(UTC))) as server:  # after a minute it would be overdue
        secrets = {"fieldSelector": "*key-and-cert*"}
        server.faults.add(Answer(503), path="*/secrets", query=secrets, when=lambda _: next(number) > 0)
        done = typed(server, "--stored", "--wait", "--timeout", "15s", "-o", "json", module="istio_certverify")
    found = json.loads(done.stdout)
    behind = [row["level"] for row in found["rows"] if "root-held" in row["checks"]]
    (held,) = (one for one in found["findings"] if one["check"] == "root-held")
    assert (done.returncode, behind, len(held["problems"]), len(held["unseen"])) == (3, ["warning"], 1, 1)


def test_a_citadel_without_a_rotator_is_not_waited_for() -> None:
    mesh = replace(behind_citadel(), version="1.2.8")
    with serve(mesh) as server:
        found = levels(live(server, live=False, wait=True))
        looks = sum("key-and-cert" in request.query.get("fieldSelector", "") for request in server.requests)
    assert (found["root-held"], looks) == ("warning", 1)

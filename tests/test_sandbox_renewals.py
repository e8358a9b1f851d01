"""Proxies of a lively istiod mesh: when they take another leaf and another root."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

from reacting import (
    HOME,
    LIVELY,
    ROOT,
    extended,
    in_memory,
    key_identifiers,
    mesh,
    of_node,
    pod,
    pods,
    restart,
    write_root,
)
from sandbox import Authority, ControlPlane, Identity, Leaf, Namespace, Proxy, serve
from sandbox.issuing import ca_certificate

DAY = timedelta(days=1)
SOON = Leaf(issued=timedelta(hours=-12, minutes=6), ends=timedelta(hours=12))  # half of its life is over in 2 minutes


def test_an_envoy_takes_leaf_and_root_when_half_of_its_leaf_is_over() -> None:
    proxies = (Proxy("ledger", "bank", leaf=SOON), Proxy("late", "bank"))
    with serve(mesh(proxies=proxies), lively=LIVELY) as server:
        old, new = ca_certificate(ROOT, server.mesh.now), extended(server.mesh)
        write_root(server, new)
        server.tick()
        server.until(lambda: in_memory(server, "bank", pod(server, "ledger", "bank"))[1] == [new])
        leaf, _ = in_memory(server, "bank", pod(server, "ledger", "bank"))
        assert in_memory(server, "bank", pod(server, "late", "bank"))[1] == [old]
    leaf.verify_directly_issued_by(new)
    authority, subject = key_identifiers(leaf, new)
    assert authority == subject is not None


def test_a_leaf_of_a_root_without_an_identifier_names_none() -> None:
    with serve(mesh(proxies=(Proxy("ledger", "bank"),)), lively=LIVELY) as server:
        new = extended(server.mesh, identifier="none")
        write_root(server, new)
        server.tick()
        server.renew("bank", pod(server, "ledger", "bank"))
        server.until(lambda: in_memory(server, "bank", pod(server, "ledger", "bank"))[1] == [new])
        leaf, _ = in_memory(server, "bank", pod(server, "ledger", "bank"))
    assert key_identifiers(leaf, new) == (None, None)


def test_all_proxies_move_soon_where_leaves_are_short() -> None:
    proxies = (Proxy("ledger", "bank"), Proxy("gate", HOME, "gateway"), Proxy("native", "bank", "native"))
    with serve(mesh(proxies=proxies), lively=replace(LIVELY, leaves=0.00001)) as server:
        write_root(server, extended(server.mesh))
        server.tick()
        places = [("bank", "ledger"), (HOME, "gate"), ("bank", "native")]
        for namespace, name in places:
            found = pod(server, name, namespace)
            server.until(lambda place=(namespace, found): in_memory(server, *place)[1] == [extended(server.mesh)])


def test_a_new_pod_has_a_new_leaf_and_is_a_proxy_like_the_old_one() -> None:
    with serve(mesh(proxies=(Proxy("ledger", "bank", version="1.28.1"),)), lively=LIVELY) as server:
        write_root(server, extended(server.mesh))
        server.tick()
        restart(server, "deploy/ledger", "bank")
        server.until(lambda: len(pods(server, "ledger", "bank")) == 1)
        (new,) = pods(server, "ledger", "bank").values()
        assert [one["name"] for one in new["spec"]["containers"]] == ["app", "istio-proxy"]
        assert new["spec"]["containers"][1]["image"] == "docker.io/istio/proxyv2:1.28.1"
        assert in_memory(server, "bank", new["metadata"]["name"])[1] == [extended(server.mesh)]
        hanging = json.loads(server.admin(HOME, pod(server, "istiod"), "debug/syncz"))
        assert [one["proxy"] for one in hanging] == [f"{new['metadata']['name']}.bank"]


def test_a_leaf_that_was_overdue_from_the_beginning_stays() -> None:
    overdue = Proxy("stuck", "bank", leaf=Leaf(issued=timedelta(hours=-20), ends=timedelta(hours=4)))
    with serve(mesh(proxies=(overdue, Proxy("ledger", "bank", leaf=SOON))), lively=LIVELY) as server:
        write_root(server, extended(server.mesh))
        server.tick()
        server.until(lambda: in_memory(server, "bank", pod(server, "ledger", "bank"))[1] == [extended(server.mesh)])
        leaf, roots = in_memory(server, "bank", pod(server, "stuck", "bank"))
    assert roots == [ca_certificate(ROOT, server.mesh.now)]
    assert leaf.not_valid_before_utc < server.mesh.now - timedelta(hours=19)


def test_the_identities_of_a_ztunnel_are_renewed_each_for_itself() -> None:
    identities = (Identity("cart", "bank", leaf=SOON), Identity("till", "bank"))
    with serve(mesh(proxies=(Proxy("ztunnel", HOME, "ztunnel", identities=identities),)), lively=LIVELY) as server:
        old, new = [ca_certificate(ROOT, server.mesh.now)], [extended(server.mesh)]
        write_root(server, *new)
        server.tick()
        server.until(lambda: of_node(server, pod(server, "ztunnel")) == {"cart": new, "till": old})
        restart(server, "ds/ztunnel")
        server.until(lambda: of_node(server, pod(server, "ztunnel")) == {"cart": new, "till": new})


def test_a_proxy_without_an_istiod_keeps_what_it_has() -> None:
    expired = replace(ROOT, ends=-2 * DAY)
    described = mesh(
        ca=Authority(root=expired),
        control_planes=(ControlPlane(ready=False),),
        proxies=(Proxy("ledger", "bank"),),
        namespaces=(Namespace("bank"),),
    )
    with serve(described, lively=LIVELY) as server:
        server.renew("bank", pod(server, "ledger", "bank"))
        assert in_memory(server, "bank", pod(server, "ledger", "bank"))[1] == [ca_certificate(expired, described.now)]
        write_root(server, extended(described))
        server.until(lambda: in_memory(server, "bank", pod(server, "ledger", "bank"))[1] == [extended(described)])

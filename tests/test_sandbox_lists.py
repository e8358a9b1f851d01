"""Lists of the sandbox: order, pages, snapshots, selectors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from asking import Asking
    from sandbox import Server


def test_a_list_comes_in_key_order_without_the_kind_of_its_items(read: Asking) -> None:
    listed = read("/api/v1/configmaps").json()
    keys = [f"{one['metadata']['namespace']}/{one['metadata']['name']}" for one in listed["items"]]
    assert listed["kind"] == "ConfigMapList"
    assert int(listed["metadata"]["resourceVersion"]) >= max(
        int(one["metadata"]["resourceVersion"]) for one in listed["items"]
    )
    assert keys == sorted(keys)
    assert all("kind" not in one and "apiVersion" not in one for one in listed["items"])


def test_a_list_in_pages_is_one_snapshot(ask: Asking, server: Server) -> None:
    whole = ask("/api/v1/configmaps").json()
    walking = ask.pages("/api/v1/configmaps")
    walked = [next(walking)]
    assert walked[0]["metadata"]["remainingItemCount"] == len(whole["items"]) - 2
    server.delete("ConfigMap", "shop", "istio-ca-root-cert")
    server.change("ConfigMap", "shop", "another", {"data": {"a": "b"}})
    walked += walking
    assert [item for page in walked for item in page["items"]] == whole["items"]
    assert {page["metadata"]["resourceVersion"] for page in walked} == {whole["metadata"]["resourceVersion"]}


def test_an_expired_continue_is_410_and_offers_to_go_on(ask: Asking, server: Server) -> None:
    first = next(ask.pages("/api/v1/configmaps"))
    server.compact()
    refused = ask("/api/v1/configmaps", fields={"limit": "500", "continue": first["metadata"]["continue"]})
    assert (refused.status, refused.json()["reason"]) == (410, "Expired")
    rest = ask("/api/v1/configmaps", fields={"continue": refused.json()["metadata"]["continue"]}).json()
    assert first["items"] + rest["items"] == ask("/api/v1/configmaps").json()["items"]


def test_a_continue_that_nobody_gave_is_a_bad_request(read: Asking) -> None:
    assert read("/api/v1/secrets?continue=nonsense").status == 400


@pytest.mark.parametrize(
    ("path", "selector", "expected"),
    [
        ("pods", {"labelSelector": "app=istiod"}, 1),
        ("pods", {"labelSelector": "app==istiod,istio.io/rev"}, 1),
        ("pods", {"labelSelector": "app in (istiod, ztunnel)"}, 2),
        ("pods", {"labelSelector": "app notin (web, istiod),!istio"}, 8),
        ("pods", {"labelSelector": "app!=web"}, 10),
        ("pods", {"labelSelector": "service.istio.io/canonical-name,app=web"}, 2),
        ("pods", {"labelSelector": "!app"}, 0),
        ("pods", {"fieldSelector": "status.phase=Running"}, 10),
        ("pods", {"fieldSelector": "status.phase!=Running,metadata.namespace=shop"}, 2),
        ("pods", {"fieldSelector": "spec.nodeName=node1"}, 12),
        ("pods", {"fieldSelector": "spec.nodeName=node2"}, 0),
        ("namespaces/shop/pods", {"labelSelector": "app=web"}, 2),
        ("secrets", {"fieldSelector": "type=istio.io/ca-root"}, 1),
        ("secrets", {"fieldSelector": "type==istio.io/key-and-cert"}, 0),
        ("configmaps", {"fieldSelector": "metadata.name=istio-ca-root-cert"}, 3),
        ("configmaps", {"fieldSelector": "metadata.name=istio-ca-root-cert,metadata.namespace=bank"}, 1),
        ("namespaces", {"fieldSelector": "metadata.name=bank"}, 1),
        ("namespaces", {"labelSelector": "istio-injection=enabled"}, 1),
        ("namespaces/nowhere/pods", {}, 0),
    ],
)
def test_selectors_select(read: Asking, path: str, selector: dict[str, str], expected: int) -> None:
    assert len(read(f"/api/v1/{path}", fields=selector).json()["items"]) == expected


@pytest.mark.parametrize(
    "selector", [{"labelSelector": "a in b"}, {"fieldSelector": "spec.colour=blue"}, {"fieldSelector": "x"}]
)
def test_a_selector_that_does_not_exist_is_refused(read: Asking, selector: dict[str, str]) -> None:
    refused = read("/api/v1/pods", fields=selector)
    assert (refused.status, refused.json()["reason"]) == (400, "BadRequest")

"""The grammar of `-l`, as apimachinery reads it."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest

from asking import MESH
from meshtrust.cluster import Cluster, Connection
from meshtrust.errors import UsageError
from meshtrust.manifests import Recording
from meshtrust.selectors import parse_selector
from sandbox.server import serve

if TYPE_CHECKING:
    from pathlib import Path

WEB = {"app": "web", "tier": "front", "generation": "3", "example.com/team": "shop", "empty": "", "in": "side"}


@pytest.mark.parametrize(
    "selector",
    [
        "",
        "  ",
        "app=web",
        "app==web",
        " app = web ",
        "app=web,tier=front",
        "app in (web, ledger)",
        "app in (web),tier notin (back,middle)",
        "app notin (ledger)",
        "app!=ledger",
        "missing!=anything",
        "missing notin (a,b)",
        "app",
        "!missing",
        "! missing",
        "example.com/team=shop",
        "empty=",
        "empty",
        "empty in (,x)",
        "in=side",
        "in in (side)",
        "generation>2",
        "generation > 2,generation<4",
    ],
)
def test_a_selector_takes_what_it_names(selector: str) -> None:
    assert parse_selector(selector).takes(WEB)


@pytest.mark.parametrize(
    "selector",
    [
        "app=ledger",
        "app=web,tier=back",
        "app in (ledger,vault)",
        "app notin (web)",
        "app!=web",
        "missing",
        "!app",
        "missing=",
        "missing in (,x)",
        "generation>3",
        "generation<3",
        "app>3",
        "missing<3",
    ],
)
def test_a_selector_leaves_what_it_does_not_name(selector: str) -> None:
    assert not parse_selector(selector).takes(WEB)


@pytest.mark.parametrize(
    "selector",
    [
        "app=web,",
        ",app=web",
        "app=web tier=front",
        "app in web",
        "app in (web",
        "app in web)",
        "app in",
        "=web",
        "!",
        "app=web=front",
        "app&tier",
        "-app=web",
        "app=-web",
        "Example.com/team=shop",
        "a/b/c=d",
        "generation>two",
        "generation>",
        "app=" + "x" * 64,
        "(app=web)",
    ],
)
def test_what_is_no_selector_is_refused_in_words(selector: str) -> None:
    with pytest.raises(UsageError, match="is no label selector"):
        parse_selector(selector)


@pytest.mark.parametrize("selector", ["app in (web,ledger)", "app notin (web),!istio", "istio=ingressgateway", "app"])
def test_a_recording_is_narrowed_as_the_server_narrows_it(selector: str, tmp_path: Path) -> None:
    with serve(MESH) as server, Cluster(Connection(kubeconfig=str(server.kubeconfig))) as cluster:
        live = [found.ref for found in cluster.objects("Pod", selector=selector)]
        narrow = [found.ref for found in cluster.objects("Pod", selector=selector, labels={"app": "web"})]
    recording = Recording.read([str(MESH.dump(tmp_path / "mesh.yaml"))], io.BytesIO())
    assert live == [found.ref for found in recording.objects("Pod", selector=selector)]
    assert narrow == [found.ref for found in recording.objects("Pod", selector=selector, labels={"app": "web"})]

"""What `kubectl istio-proxyver` says of the real pods of a mesh, and of those that do not fit into it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from cluster.programs import ISTIO
from cluster.rights import USER, Right, granted
from cluster.workloads import GATEWAY, HOME, OUTSIDE, WORKLOADS, Workload

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cluster.mesh import Mesh
    from cluster.plugins import Answer, Plugin

# Names of the same proxy: the one says an old release, the other none.
_OLD, _UNTOLD = "docker.io/istio/proxyv2:1.29.4", "docker.io/istio/proxyv2:ours"
OLD = Workload("elder", "shop", image=_OLD)
UNTOLD = Workload("untold", "shop", image=_UNTOLD)
LEFT_BEHIND = Workload("scout", OUTSIDE, revision="canary")
LIST = Right("list", "pods")
ASK_ISTIOD = (Right("get", "pods/portforward", "", HOME), Right("create", "pods/portforward", "", HOME))
ASK_AGENTS = (Right("get", "pods/exec"), Right("create", "pods/exec"))


@pytest.fixture(scope="module")
def _images(mesh: Mesh, tmp_path_factory: pytest.TempPathFactory) -> None:
    for image in (_OLD, _UNTOLD):
        mesh.load_proxy(image, tmp_path_factory.mktemp("image"))


@pytest.fixture
def untold(mesh: Mesh, _images: None) -> Iterator[None]:
    with mesh.added(UNTOLD):
        yield


def test_every_proxy_is_found_with_its_kind_its_version_and_its_owner(proxyver: Plugin) -> None:
    answer = proxyver()
    assert (answer.code, answer.levels, answer.stderr) == (0, {}, "")
    found = {(row["kind"], row["owner"]): row["version"] for row in answer.report["rows"]}
    assert found == {
        **{("sidecar", f"Deployment/{workload.name}"): ISTIO for workload in WORKLOADS},
        ("gateway", f"Deployment/{GATEWAY}"): ISTIO,
        ("control-plane", "Deployment/istiod"): ISTIO,
    }


def test_a_release_that_nobody_has_reached_is_a_warning(proxyver: Plugin) -> None:
    answer = proxyver("--outdated-than", "1.40")
    assert (answer.code, answer.levels) == (1, {"new-enough": "warning"})


@pytest.mark.usefixtures("_images")
def test_a_proxy_that_is_older_than_its_control_plane_allows_is_named_with_the_command_that_mends_it(
    mesh: Mesh, proxyver: Plugin
) -> None:
    with mesh.added(OLD):
        answer = proxyver()
        assert (answer.code, answer.levels) == (1, {"within-skew": "warning"})
        old = _row(answer, OLD)
        assert (old["version"], old["source"], old["level"]) == ("1.29.4", "image tag", "warning")
        assert proxyver.of_pods().verdict == answer.verdict
        mesh.ground.say(*old["restart"].split())
        mesh.wait_for(OLD)


def test_a_proxy_whose_control_plane_has_gone_is_told(mesh: Mesh, proxyver: Plugin) -> None:
    with mesh.canary():
        mesh.add(LEFT_BEHIND)
        assert proxyver().levels == {}
    answer = proxyver()
    mesh.remove(LEFT_BEHIND)
    assert (answer.code, answer.levels) == (1, {"control-plane-there": "warning"})
    assert _row(answer, LEFT_BEHIND)["revision"] == "canary"


@pytest.mark.usefixtures("untold")
def test_istiod_tells_what_an_image_does_not(mesh: Mesh, proxyver: Plugin) -> None:
    with granted(mesh, (LIST, *ASK_ISTIOD)):
        answer = proxyver(user=USER)
    assert (answer.code, answer.levels) == (0, {})
    assert (_row(answer, UNTOLD)["version"], _row(answer, UNTOLD)["source"]) == (ISTIO, "istiod")


@pytest.mark.usefixtures("untold")
def test_where_istiod_may_not_be_asked_the_proxy_tells(mesh: Mesh, proxyver: Plugin) -> None:
    with granted(mesh, (LIST, *ASK_AGENTS)):
        answer = proxyver(user=USER)
    assert (answer.code, answer.levels) == (0, {})
    assert (_row(answer, UNTOLD)["version"], _row(answer, UNTOLD)["source"]) == (ISTIO, "proxy")


@pytest.mark.usefixtures("untold")
@pytest.mark.parametrize("missing", ASK_ISTIOD, ids=str)
def test_where_nobody_may_be_asked_it_is_unknown_and_the_right_is_named(
    mesh: Mesh, proxyver: Plugin, missing: Right
) -> None:
    with granted(mesh, (LIST, *ASK_ISTIOD), missing):
        answer = proxyver(user=USER)
    assert answer.code == 3
    assert _row(answer, UNTOLD)["version"] is None
    assert "cannot get pods/portforward" in answer.unseen.replace("cannot create", "cannot get")


def test_without_the_right_to_list_pods_nothing_is_known(mesh: Mesh, proxyver: Plugin) -> None:
    with granted(mesh, (LIST,), LIST):
        answer = proxyver(user=USER)
    assert answer.code == 3
    assert "cannot list pods at the cluster scope" in answer.unseen


def test_a_recording_says_the_same(proxyver: Plugin) -> None:
    assert proxyver.of_pods().verdict == proxyver().verdict


def _row(answer: Answer, workload: Workload) -> dict[str, Any]:
    (found,) = (row for row in answer.report["rows"] if row["owner"] == f"Deployment/{workload.name}")
    return dict(found)

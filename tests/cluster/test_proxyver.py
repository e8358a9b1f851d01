"""What `kubectl istio-proxyver` says of the real pods of a mesh."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cluster.programs import ISTIO
from cluster.workloads import GATEWAY, WORKLOADS

if TYPE_CHECKING:
    from cluster.plugins import Plugin


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


def test_a_recording_says_the_same(proxyver: Plugin) -> None:
    recording = proxyver.folder / "pods.yaml"
    recording.write_text(proxyver.ground.kubectl("get", "pods", "-A", "-o", "yaml"))
    assert proxyver("-f", str(recording)).verdict == proxyver().verdict

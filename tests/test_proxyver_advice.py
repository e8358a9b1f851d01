"""What to do about a proxy, and what is said where its version stays unknown."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from istio_proxyver import cures
from meshes import RENEWED, ROOT, istiod
from meshtrust.cluster import Cluster, Connection
from meshtrust.objects import Ref
from proxy_meshes import SILENT
from sandbox import Authority, Edit, Mesh, Proxy
from sandbox.faults import Answer
from sandbox.server import serve
from test_proxy_images import pod, read
from test_proxyver_verdicts import judged
from transitions import typed

if TYPE_CHECKING:
    from pathlib import Path

    from meshtrust.report import Report


ARGOS = (
    "kubectl patch rollouts.argoproj.io/web -n bank --type merge"
    """ -p '{"spec":{"restartAt":"'$(date -u +%Y-%m-%dT%H:%M:%SZ)'"}}'"""
)


@pytest.mark.parametrize(
    ("kind", "command"),
    [
        ("Deployment", "kubectl rollout restart deploy/web -n bank"),
        ("DaemonSet", "kubectl rollout restart ds/web -n bank"),
        ("StatefulSet", "kubectl rollout restart sts/web -n bank"),
        ("Rollout", ARGOS),
        ("DeploymentConfig", "oc rollout latest dc/web -n bank"),
        ("ReplicaSet", "kubectl delete pod one -n bank"),
        ("Job", "kubectl delete pod one -n bank"),
        ("Pod", ""),
        ("Node", ""),
    ],
)
def test_the_command_restarts_the_owner(kind: str, command: str, tmp_path: Path) -> None:
    (found,) = read(tmp_path, pod("sidecar", "istio/proxyv2:1.1.5"))
    owned = replace(found, owner=Ref(kind, "bank", "web"))
    assert cures.restart(owned, cures.RESTART_AFTER) == command
    assert cures.restart(owned, cures.UPGRADE_CHART) == ""


@pytest.mark.parametrize(
    ("shape", "cure"),
    [
        ("sidecar", cures.RESTART),
        ("gateway", cures.UPGRADE_GATEWAY),
        ("waypoint", cures.KEPT_BY_ISTIOD),
        ("ztunnel", cures.UPGRADE_CHART),
        ("istiod", cures.UPGRADE_CHART),
        ("pilots-proxy", cures.UPGRADE_CHART),
    ],
)
def test_each_kind_comes_to_a_new_release_in_its_own_way(shape: str, cure: str, tmp_path: Path) -> None:
    (found,) = read(tmp_path, pod(shape, "istio/proxyv2:1.29.2"))
    assert cures.renewed(found) == cure


def test_commands_of_one_namespace_are_one_line_as_far_as_it_can_be_read() -> None:
    restarts = [f"kubectl rollout restart deploy/app-{number} -n bank" for number in range(12)]
    others = [
        ARGOS,
        "kubectl delete pod a -n shop",
        "kubectl delete pod b -n shop",
        "kubectl rollout restart sts/'a; reboot' -n bank",
    ]
    first = " ".join(f"deploy/app-{number}" for number in range(10))
    assert list(cures.folded([*restarts, *restarts[:3], *others])) == [
        f"kubectl rollout restart {first} -n bank",
        "kubectl rollout restart deploy/app-10 deploy/app-11 -n bank",
        ARGOS,
        "kubectl delete pod a b -n shop",
        "kubectl rollout restart sts/'a; reboot' -n bank",
    ]


@pytest.mark.parametrize("made", ["ReplicaSet", "Deployment"])
def test_a_rollout_of_argos_is_restarted_by_the_command_that_certverify_prints(made: str) -> None:
    references = [{"apiVersion": "v1", "kind": "ReplicaSet", "name": "ledger-abc", "uid": "1", "controller": True}]
    labels = {"rollouts-pod-template-hash": "abc", "pod-template-hash": None}
    patch = {"metadata": {"ownerReferences": references, "labels": labels}} if made == "ReplicaSet" else {}
    mesh = istiod(ca=Authority(root=RENEWED), proxies=(Proxy("ledger", "bank", version="1.27.3", holds=(ROOT,)),))
    ((namespace, name),) = mesh.pods()
    with serve(replace(mesh, edits=(Edit(kind="Pod", namespace=namespace, name=name, patch=patch),))) as server:
        told = [
            [
                line
                for line in typed(server, *arguments, module=module).stdout.splitlines()
                if line.startswith("kubectl")
            ]
            for module, arguments in (
                ("istio_proxyver", ("--outdated-than", "1.29")),
                ("istio_certverify", ("--live",)),
            )
        ]
    wanted = (
        ARGOS.replace("/web ", "/ledger ") if made == "ReplicaSet" else "kubectl rollout restart deploy/ledger -n bank"
    )
    assert told == [[wanted], [wanted]]


def live(mesh: Mesh, *faults: tuple[str, Answer]) -> Report:
    with serve(mesh) as server, Cluster(Connection(kubeconfig=str(server.kubeconfig), request_timeout=2)) as cluster:
        for path, fault in faults:
            server.faults.add(fault, path=path)
        return judged(cluster)


def whys(found: Report) -> list[str]:
    return sorted({gap.why for finding in found.findings for gap in finding.unseen})


def silent(**told: object) -> Mesh:
    return istiod(proxies=(Proxy("ledger", "bank", image=SILENT, version="1.29.1", **told),))  # type: ignore[arg-type]  # the fields of a Proxy


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ("garbage", "and its own answer is not JSON"),
        ("refuses", "and it could not be asked: "),
        ("cut", "and it could not be asked: "),
        ("hangs", "and it could not be asked: "),
    ],
)
def test_a_proxy_that_cannot_tell_is_unknown_with_the_reason(answers: str, words: str) -> None:
    found = live(silent(answers=answers, connected=False))
    (why,) = whys(found)
    assert (str(found.status), words in why, "no istiod has it connected" in why) == ("unknown", True, True)


def test_an_istiod_that_does_not_answer_leaves_it_to_the_proxy() -> None:
    found = live(silent(), ("*/istio-system/pods/istiod-*/portforward", Answer(500)))
    assert (str(found.status), [row["source"] for row in found.rows]) == ("ok", ["proxy", "image tag"])


def test_where_neither_answers_both_reasons_are_said() -> None:
    found = live(silent(), ("*/portforward", Answer(500)))
    (why,) = whys(found)
    assert why.startswith("its image registry.corp.example/mesh/proxy@sha256:")
    assert ", istiod does not either: " in why
    assert ", and it could not be asked: " in why


def test_a_proxy_that_does_not_run_is_not_asked() -> None:
    (why,) = whys(live(silent(phase="Pending")))
    assert why.endswith("no istiod has it connected, and it does not run (ContainerCreating)")


def test_a_configmap_that_may_not_be_read_leaves_bundles_unknown() -> None:
    with serve(istiod(version="1.24.4")) as server, Cluster(Connection(kubeconfig=str(server.kubeconfig))) as cluster:
        server.forbid("get", "configmaps")
        found = judged(cluster)
    open_checks = {finding.check.id for finding in found.findings if finding.unseen}
    assert (str(found.status), open_checks) == ("unknown", {"bundle-handed-out", "bundle-read"})

"""What must be so before a root is replaced: each check has a mesh in which it speaks, and is silent in others."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

import pytest

import meshes
from changed_meshes import HOME, SECRET, pod_of
from istio_root.transition.preflight import PREFLIGHT, RESTORE_PREFLIGHT
from istio_root.transition.telling import ON_MESH
from istio_root.transition.wish import Verb, Wish
from meshes import NOW, citadel, istiod
from meshtrust.errors import ToolError, UsageError
from meshtrust.findings import Level
from meshtrust.render import Output, render
from planned import acts, levels, live, problems, recorded, unseen, writes
from restored_meshes import AFTER_A_CHANGE, RESTORE
from restored_meshes import ALL as CASES
from sandbox import Mesh, Proxy
from sandbox.faults import Answer, Cut, Fault, Reset, Silence
from sandbox.server import serve
from verified_meshes import EVERYTHING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


MESH = istiod(proxies=EVERYTHING)
ONLY_LIVE = {"clocks-agree", "rights-held"}


@pytest.mark.parametrize("name", CASES)
def test_a_recorded_mesh_gets_its_plan(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    found = recorded(case.mesh, tmp_path, case.wish)
    told = render(found, Output.TABLE)
    assert (str(found.status), levels(found), acts(found)) == (case.status, dict(case.findings), case.steps), told


@pytest.mark.parametrize("name", CASES)
def test_a_live_mesh_gives_the_same_plan_as_its_recording_and_nothing_is_written(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    with serve(case.mesh) as server:
        before = {kind: server.objects(kind) for kind in ("Secret", "Deployment", "ConfigMap")}
        found = live(server, case.wish)
        assert writes(server) == []
        assert {kind: server.objects(kind) for kind in before} == before
    kept = recorded(case.mesh, tmp_path, case.wish)
    assert (found.status, levels(found), found.rows) == (kept.status, levels(kept), kept.rows)
    assert problems(found) == problems(kept)
    assert found.checked == kept.checked


def test_every_declared_check_speaks_in_some_mesh() -> None:
    declared = {check.id for check in (*ON_MESH, *PREFLIGHT, *RESTORE_PREFLIGHT)}
    assert {check for case in CASES.values() for check in case.findings} == declared - ONLY_LIVE


def test_what_a_recording_cannot_answer_is_not_asked_of_it(tmp_path: Path) -> None:
    with serve(MESH) as server:
        found = live(server)
    kept = recorded(MESH, tmp_path)
    assert (found.not_asked, set(kept.not_asked)) == ((), ONLY_LIVE)


# The bare verbs, over every mesh that the other command knows.


@pytest.mark.parametrize("verb", Verb)
@pytest.mark.parametrize("name", meshes.CASES)
def test_a_plan_of_any_mesh_ends_and_writes_nothing(name: str, verb: Verb) -> None:
    with serve(meshes.CASES[name].mesh) as server:
        if len(meshes.CASES[name].mesh.others):
            with pytest.raises(UsageError, match="2 control planes are here: istio-system, istio-two"):
                live(server, Wish(verb))
        else:
            found = live(server, Wish(verb))
            assert render(found, Output.TABLE).endswith("Z\n")
            assert found.rows or found.status is Level.CRITICAL
        assert writes(server) == []


# In what words: the place, and what is to be done.


def the_problem(mesh: Mesh, wish: Wish, folder: Path) -> tuple[str, str, str]:
    (finding,) = [one for one in recorded(mesh, folder, wish).findings if one.problems]
    (problem,) = finding.problems
    return str(problem.place), problem.detail, problem.hint or finding.check.hint


SAID = {
    "a-plugged-in-ca": ("Secret istio-system/cacerts", "the CA is plugged-in: nothing here may touch it"),
    "an-external-ca": ("Namespace istio-system", "the CA is external: nothing here may touch it"),
    "a-ca-that-lives-in-memory-alone": (
        "Secret istio-system/istio-ca-secret",
        "it is gone: the CA lives in the control plane's memory alone, and a restart would make another key",
    ),
    "a-whole-cacerts-waits": ("Secret istio-system/cacerts", "it would take over at the next start"),
    "an-incomplete-cacerts-waits": (
        "Secret istio-system/cacerts",
        "it would take over at the next start: it lacks cert-chain.pem, and istiod would not start",
    ),
    "an-immutable-secret": ("Secret istio-system/istio-ca-secret", "it is immutable"),
    "kept-by-argo-cd-label": (
        "Secret istio-system/istio-ca-secret",
        "Argo CD (argocd.argoproj.io/instance) keeps it",
    ),
    "kept-by-helm-label": (
        "Secret istio-system/istio-ca-secret",
        "Helm (app.kubernetes.io/managed-by) keeps it",
    ),
    "a-copy-of-another-root": ("ConfigMap bank/istio-ca-root-cert [root-cert.pem]", "it holds another key"),
    "written-and-not-loaded": (
        "Secret istio-system/istio-ca-secret",
        "a change is under way: the root in the Secret is not loaded yet",
    ),
    "loaded-and-not-published-by-a-citadel": (
        "Secret istio-system/istio-ca-secret",
        "a change is under way: the root in the Secret is loaded, and not published everywhere yet",
    ),
    "published-by-one-of-two-revisions": (
        "Secret istio-system/istio-ca-secret",
        "a change is under way: parts of the control plane have not been restarted since the root was written",
    ),
    "a-paused-rollout": ("Deployment istio-system/istiod", "its rollout is paused: a restart would do nothing"),
    "a-rollout-in-the-middle": ("Deployment istio-system/istiod", "its last rollout is not finished"),
    "scaled-to-zero": ("Deployment istio-system/istiod", "it is scaled to 0: nothing would load the root"),
    "applied-by-the-server-for-kubectl": (
        "Secret istio-system/istio-ca-secret",
        f"kubectl has written it, last at {NOW + timedelta(days=-1):%Y-%m-%dT%H:%M:%SZ}",
    ),
    "never-loaded-by-a-citadel-without-a-rotator": (
        f"Pod istio-system/{pod_of('istio-citadel')}",
        "it never loads another root while it runs: this release reads its root at its start alone",
    ),
    "shorter-and-without-an-identifier": (
        "Secret istio-system/istio-ca-secret",
        f"it has 3285 days left, and a new one would end sooner, on {NOW + timedelta(days=3000):%Y-%m-%d}",
    ),
    "restored-ending-within-a-day": (
        "Secret istio-system/istio-ca-secret",
        "the previous root ends in 23 hours, and who takes it may keep it for 24 hours",
    ),
    "restored-ending-before-a-long-leaf": (
        "Secret istio-system/istio-ca-secret",
        "the previous root ends in 4 days, and who takes it may keep it for 10 days",
    ),
    "restored-none-kept": ("Secret istio-system/istio-ca-secret", "no previous root is kept in it"),
    "restored-of-another-key": (
        "Secret istio-system/istio-ca-secret",
        "the previous root is another key: proxies would refuse each other",
    ),
    "restored-ended": ("Secret istio-system/istio-ca-secret", "the previous root: expired 2 hours ago"),
    "restored-old-enough-to-be-renewed-at-once": (
        "Secret istio-system/istio-ca-secret",
        "the previous root has less than 20 % of its life left: it renews it at once",
    ),
    "restored-kept-before-a-renewal-by-another": (
        "Secret istio-system/istio-ca-secret",
        "the previous root was kept for another one than the one that signs now",
    ),
}


@pytest.mark.parametrize("name", SAID)
def test_a_problem_names_its_place_and_what_is_to_be_done(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    place, detail, hint = the_problem(case.mesh, case.wish, tmp_path)
    assert (place, detail) == SAID[name]
    assert hint


def test_what_no_deployment_runs_is_restarted_by_hand(tmp_path: Path) -> None:
    case = CASES["run-by-no-deployment"]
    place, detail, hint = the_problem(case.mesh, case.wish, tmp_path)
    assert place.startswith("Pod istio-system/istiod-")
    assert detail == "no Deployment runs it: it cannot be restarted here"
    assert hint == "--no-restart writes the root alone; then restart by hand what runs the control plane"


def test_of_two_revisions_the_one_that_never_loads_it_is_named(tmp_path: Path) -> None:
    case = CASES["never-loaded-by-one-of-two-revisions"]
    place, detail, hint = the_problem(case.mesh, case.wish, tmp_path)
    assert place.startswith("Pod istio-system/istiod-canary-")
    assert detail == "it never loads another root while it runs: its check is switched off"
    assert hint.startswith("leave --no-restart away")


def test_a_proxy_that_moves_too_late_says_when_it_moves_and_when_the_root_ends(tmp_path: Path) -> None:
    mesh = replace(CASES["proxies-that-move-after-the-root-has-ended"].mesh, proxies=(Proxy("web", "shop"),))
    place, detail, hint = the_problem(mesh, Wish(Verb.TRANSITION), tmp_path)
    assert place.startswith("Pod shop/web-")
    moves = datetime.fromisoformat(recorded(mesh, tmp_path).details["plan"]["moves_by"])
    ends = NOW + mesh.ca.root.ends
    assert detail == f"moves by {moves:%Y-%m-%dT%H:%M}Z, and the root that it holds ends on {ends:%Y-%m-%dT%H:%M}Z"
    assert hint.startswith("once the new root is loaded, restart what runs them by the commands below, before theirs")


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("expired-in-the-secret-alone", "--apply puts a valid one in its place"),
        ("restored-a-change-that-is-not-loaded", "--apply takes it back"),
        ("restored-cut-short", "--apply goes on with it"),
    ],
)
def test_a_change_that_is_under_way_says_what_becomes_of_it(name: str, hint: str, tmp_path: Path) -> None:
    case = CASES[name]
    assert the_problem(case.mesh, case.wish, tmp_path)[2].startswith(hint)


def test_who_else_writes_the_secret_is_named_with_the_time(tmp_path: Path) -> None:
    mesh = CASES["written-by-argo-cd"].mesh
    at = f"{NOW + mesh.ca.created:%Y-%m-%dT%H:%M:%SZ}"
    _, detail, _ = the_problem(mesh, Wish(Verb.TRANSITION), tmp_path)
    assert detail == f"argocd-controller has written it, last at {at}"


def test_a_renewal_that_harms_is_to_be_forestalled_and_a_harmless_one_waited_for(tmp_path: Path) -> None:
    harms, harmless = (CASES[f"renewed-within-the-hour{more}"] for more in ("-to-the-harm-of-all", ""))
    _, harmful, quick = the_problem(harms.mesh, harms.wish, tmp_path)
    _, harmlessly, patient = the_problem(harmless.mesh, harmless.wish, tmp_path)
    assert (harmful.rpartition(", ")[2], quick) == ("and harms: be quicker", "--apply now")
    assert harmlessly.endswith(", and will do no harm")
    due = NOW + timedelta(minutes=50)
    assert patient.startswith(f"let it, look again after {due + timedelta(hours=2):%Y-%m-%dT%H:%M:%SZ}, and extend")


def test_a_renewal_is_waited_for_as_long_as_the_control_plane_may_take_to_look(tmp_path: Path) -> None:
    daily = CASES["not-renewed-though-due-and-looked-for-daily"]
    _, _, hint = the_problem(daily.mesh, daily.wish, tmp_path)
    assert hint.startswith(f"let it, look again after {NOW + timedelta(hours=8):%Y-%m-%dT%H:%M:%SZ}, and extend")


def test_a_renewal_that_is_overdue_and_may_come_at_any_moment_says_since_when(tmp_path: Path) -> None:
    mesh = CASES["renewed-at-a-first-look-that-is-to-come"].mesh
    due = NOW + mesh.ca.root.ends - 0.2 * (mesh.ca.root.ends - mesh.ca.root.starts)
    _, detail, _ = the_problem(mesh, Wish(Verb.TRANSITION), tmp_path)
    since = f"it has been due since {due:%Y-%m-%dT%H:%MZ}, and the control plane may look at any moment"
    assert detail == f"{since}, and will do no harm"


def test_a_proxy_that_a_renewal_has_parted_stays_apart_or_is_taken_back_by_a_root_without_identifier(
    tmp_path: Path,
) -> None:
    kept, dropped = (CASES[f"a-proxy-that-a-renewal-has-parted{more}"] for more in ("", "-is-taken-back"))
    place, apart, _ = the_problem(kept.mesh, kept.wish, tmp_path)
    assert place.startswith("Pod shop/slow-")
    assert apart.startswith("already apart from the others: holds the same key with another key identifier")
    _, mended, hint = the_problem(dropped.mesh, dropped.wish, tmp_path)
    assert mended.startswith("apart from the present root, and belongs to the next one")
    assert hint.startswith("once the new root is loaded, restart what runs them")


def test_a_release_that_surely_keeps_its_old_root_is_told_from_one_that_may(tmp_path: Path) -> None:
    sure, unsure = (CASES[f"sidecars-that-{word}keep-the-old-root"].mesh for word in ("", "may-"))
    wish = Wish(Verb.TRANSITION)
    assert the_problem(sure, wish, tmp_path)[1] == "1.1.7 keeps the old root until it is restarted"
    assert the_problem(unsure, wish, tmp_path)[1] == "1.0.7 may keep the old root until it is restarted"


# What a user may not do.

RIGHTS = {
    ("patch", "secrets", HOME): [f'patch secrets "{SECRET}" in namespace "{HOME}"'],
    ("patch", "deployments", HOME): [f'patch deployments.apps "istiod" in namespace "{HOME}"'],
}


@pytest.mark.parametrize(("verb", "resource", "namespace"), RIGHTS)
@pytest.mark.parametrize("wish", [Wish(Verb.TRANSITION), RESTORE], ids=str)
def test_a_missing_right_blocks_and_is_named_so_that_it_can_be_tried(
    verb: str, resource: str, namespace: str, wish: Wish
) -> None:
    with serve(AFTER_A_CHANGE) as server:
        server.forbid(verb, resource, namespace=namespace)
        found = live(server, wish if wish.verb is Verb.RESTORE else replace(wish, lifetime=timedelta(days=5000)))
    assert levels(found) == {"rights-held": "critical"}
    (finding,) = [one for one in found.findings if one.check.id == "rights-held"]
    assert [problem.place.name for problem in finding.problems] == RIGHTS[verb, resource, namespace]
    assert finding.hints[0].startswith(f"ask for it, and try it with: kubectl auth can-i {verb} {resource}")


def test_in_the_citadel_era_the_right_to_restart_the_other_parts_is_wanted_too() -> None:
    with serve(citadel()) as server:
        server.forbid("patch", "deployments")
        found = live(server)
    assert [place for _, place, _ in problems(found)] == [
        f'Right {HOME}/patch deployments.apps "istio-{part}" in namespace "{HOME}"' for part in ("citadel", "galley")
    ]


def test_without_a_restart_no_right_to_restart_is_wanted() -> None:
    with serve(istiod()) as server:
        server.forbid("patch", "deployments")
        assert levels(live(server, Wish(Verb.TRANSITION, restart=False))) == {}


def test_nothing_is_asked_for_that_is_not_to_be_written() -> None:
    with serve(CASES["as-long-as-was-asked-for"].mesh) as server:
        server.forbid("patch", "*")
        assert levels(live(server)) == {}


BLIND = {
    "secrets": ("get", "secrets", "*", {"ca-managed", "root-signs", "change-finished", "renewal-far"}),
    "secrets-of-clusters": ("list", "secrets", "*", {"clusters-alone"}),
    "deployments": ("list", "deployments", "*", {"control-plane-ready"}),
    "pods": ("list", "pods", "*", {"ca-managed", "control-plane-ready", "proxies-unharmed", "proxies-reload"}),
    "copies": ("list", "configmaps", "", {"copies-known", "change-finished"}),
    "webhooks": ("list", "mutatingwebhookconfigurations", "*", {"webhooks-known"}),
    "validators": ("list", "validatingwebhookconfigurations", "*", {"webhooks-known"}),
    "memory": ("create", "pods/*", "*", {"proxies-unharmed"}),
}


@pytest.mark.parametrize("name", BLIND)
def test_what_may_not_be_seen_is_unknown_and_neither_fine_nor_wrong(name: str) -> None:
    verb, resource, namespace, checks = BLIND[name]
    with serve(MESH) as server:
        server.forbid(verb, resource, namespace=namespace)
        found = live(server)
        assert writes(server) == []
    assert set(levels(found).values()) == {"unknown"}
    assert checks <= levels(found).keys()
    assert found.status is Level.UNKNOWN
    assert "--accept-unseen" in found.verdict or not found.rows


def test_pods_that_may_be_listed_namespace_by_namespace_are_enough() -> None:
    with serve(MESH) as server:
        server.forbid("list", "pods", namespace="")
        assert levels(live(server)) == {}


def test_where_no_review_of_rights_is_answered_they_are_unknown() -> None:
    with serve(MESH) as server:
        server.faults.add(Answer(500), path="*/selfsubjectaccessreviews")
        found = live(server)
    assert levels(found) == {"rights-held": "unknown"}
    assert any("cannot create selfsubjectaccessreviews" in why for why in unseen(found))


def test_a_proxy_that_does_not_answer_is_named_and_unknown() -> None:
    with serve(istiod(proxies=(Proxy("web", "shop"), Proxy("mute", "shop", answers="hangs")))) as server:
        found = live(server, request_timeout=0.5)
    assert levels(found) == dict.fromkeys(("proxies-unharmed", "proxies-in-time"), "unknown")
    for finding in (one for one in found.findings if one.unseen):
        assert [gap.ref.name[:5] for gap in finding.unseen] == ["mute-"]


FAULTS: Mapping[str, Fault] = {
    "401": Answer(401),
    "500": Answer(500),
    "html": Answer(200, body="<html>please log in</html>", content_type="text/html"),
    "cut": Cut(),
    "reset": Reset(),
    "silence": Silence(),
}
ASKED = {
    "ca": f"/api/v1/namespaces/{HOME}/secrets/{SECRET}",
    "cacerts": f"/api/v1/namespaces/{HOME}/secrets/cacerts",
    "clusters": f"/api/v1/namespaces/{HOME}/secrets",
    "pods": "/api/v1/pods",
    "parts": f"/api/v1/namespaces/{HOME}/pods",
    "copies": "/api/v1/configmaps",
    "deployments": f"/apis/apps/v1/namespaces/{HOME}/deployments",
    "webhooks": "*/mutatingwebhookconfigurations",
    "rights": "*/selfsubjectaccessreviews",
}


@pytest.mark.parametrize("asked", ASKED)
@pytest.mark.parametrize("fault", FAULTS)
def test_no_fault_at_any_request_ends_in_a_plan_that_may_be_carried_out(fault: str, asked: str) -> None:
    with serve(istiod()) as server:
        server.faults.add(FAULTS[fault], path=ASKED[asked])
        with suppress(ToolError):  # nothing can be said at all, and that is said
            found = live(server, request_timeout=0.4)
            assert found.status is Level.UNKNOWN, render(found, Output.TABLE)
        assert any(fnmatchcase(request.path, ASKED[asked]) for request in server.requests)
        assert writes(server) == []


@pytest.mark.parametrize("offset", [timedelta(minutes=5), timedelta(hours=-3)])
def test_clocks_that_differ_are_called_out_and_the_new_root_begins_by_the_one_behind(offset: timedelta) -> None:
    with serve(istiod(), clock_offset=offset) as server:
        found = live(server)
    assert levels(found) == {"clocks-agree": "warning"}
    begins = found.details["plan"]["new"]["not_before"]
    wanted = min(NOW, NOW + offset) - timedelta(hours=1)
    # A Date header has whole seconds, and takes its time to come.
    assert abs(datetime.fromisoformat(begins) - wanted) < timedelta(minutes=2)

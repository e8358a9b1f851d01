"""`transition --apply` and `restore --apply` to their ends: what is written, what is restarted, what is waited for."""

from __future__ import annotations

import json
from base64 import b64decode
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from istio_root.transition.wish import Verb
from sandbox import Answer, Authority, ControlPlane, Edit, Identity, Namespace, Proxy
from sandbox.issuing import ca_certificate
from transitions import (
    BUNDLES,
    CA,
    DEPLOYMENTS,
    ENDED,
    ERAS,
    HOME,
    LEDGER,
    NOW,
    OFF,
    OLD,
    SECRET,
    Ended,
    assert_whole,
    behind,
    certificate,
    changed,
    citadel,
    cut_after_the_write,
    editions,
    first,
    is_edition,
    istiod,
    lively,
    previous,
    published,
    restore,
    root,
    run,
    texts,
    typed,
    writes,
)

if TYPE_CHECKING:
    from sandbox import Server

_SELDOM = ControlPlane(env={"CITADEL_SELF_SIGNED_ROOT_CERT_CHECK_INTERVAL": "9h"})
both_eras = pytest.mark.parametrize("era", ERAS)


def verified(server: Server, *args: str) -> int:
    return typed(server, *args, module="istio_certverify").returncode


def started(server: Server, deployment: str) -> str:
    """When somebody restarted a Deployment, as `kubectl rollout restart` writes it down; empty where nobody did."""
    (found,) = (one for one in server.objects("Deployment") if one["metadata"]["name"] == deployment)
    annotations = found["spec"]["template"]["metadata"].get("annotations", {})
    restarted: str = annotations.get("kubectl.kubernetes.io/restartedAt", "")
    return restarted


class TestThereAndBack:
    @both_eras
    def test_all_that_is_published_holds_the_new_root_when_it_is_done(self, era: str) -> None:
        with lively(ERAS[era]()) as server:
            ended = run(server)
            assert (ended.code, set(ended.states.values())) == (0, {"done"}), ended.words
            assert behind(server) == []
            assert list(published(server))
            assert_whole(server)

    @both_eras
    def test_the_secret_holds_the_new_edition_and_the_one_before_it(self, era: str) -> None:
        mesh = ERAS[era]()
        old = ca_certificate(mesh.ca.root, NOW)
        with lively(mesh) as server:
            before = texts(server)
            run(server)
            after = texts(server)
            assert root(server) != old
            assert is_edition(root(server), old)
            assert previous(server) == old
            assert first(after["root-cert.pem"]) == root(server) if before.get("root-cert.pem") else True
            assert after["ca-key.pem"] == before["ca-key.pem"]
            assert set(after) == {*before, "previous-ca-cert.pem"}
            left = root(server).not_valid_after_utc - datetime.now(UTC)
            assert timedelta(days=3649) < left <= timedelta(days=3650)

    @both_eras
    def test_restore_puts_the_old_root_back_and_a_second_one_undoes_that(self, era: str) -> None:
        with lively(ERAS[era]()) as server:
            old = root(server)
            run(server)
            new = root(server)
            assert restore(server).code == 0
            assert (root(server), previous(server), behind(server)) == (old, new, [])
            assert restore(server).code == 0
            assert (root(server), previous(server), behind(server)) == (new, old, [])
            assert editions(server) == [old, new, old, new]
            assert_whole(server)

    @both_eras
    def test_the_change_is_one_patch_that_names_what_it_stands_on_and_no_key(self, era: str) -> None:
        with lively(ERAS[era]()) as server:
            (before,) = (one for one in server.objects("Secret") if one["metadata"]["name"] == CA)
            run(server)
            (sent,) = (one for one in server.requests if one.method == "PATCH" and one.path == SECRET)
        patch = json.loads(sent.body)
        assert patch["metadata"] == {"resourceVersion": before["metadata"]["resourceVersion"]}
        filled = {"root-cert.pem"} if before["data"].get("root-cert.pem") else set()
        assert set(patch["data"]) == {"ca-cert.pem", "previous-ca-cert.pem"} | filled
        assert set(patch) == {"metadata", "data"}

    def test_managed_fields_say_that_it_was_this_plugin(self) -> None:
        with lively(istiod()) as server:
            run(server)
            (now,) = (one for one in server.objects("Secret") if one["metadata"]["name"] == CA)
        ours = [one for one in now["metadata"]["managedFields"] if one["manager"] == "kubectl-istio-root"]
        assert [one["operation"] for one in ours] == ["Update"]
        owned = ours[0]["fieldsV1"]["f:data"]
        assert {"f:ca-cert.pem", "f:previous-ca-cert.pem"} <= set(owned)
        assert "f:ca-key.pem" not in owned

    @both_eras
    def test_nothing_but_the_secret_and_the_deployments_is_written(self, era: str) -> None:
        with lively(ERAS[era]()) as server:
            run(server)
            paths = writes(server)
        deployment = "istiod" if era == "istiod" else "istio-citadel"
        assert paths == [SECRET, f"{DEPLOYMENTS}/{deployment}"]

    def test_what_was_done_is_not_done_again(self) -> None:
        with lively(istiod()) as server:
            run(server)
            before = writes(server)
            again = run(server)
            assert (again.code, again.line) == (0, "nothing to do")
            assert writes(server) == before

    def test_a_root_in_a_generated_cacerts_is_changed_where_it_stands(self) -> None:
        env = {**OFF.env, "USE_CACERTS_FOR_SELF_SIGNED_CA": "true"}
        mesh = istiod(control_planes=(replace(OFF, env=env),))
        mesh = replace(mesh, ca=Authority(secret="cacerts", root=OLD, generated=True))
        with lively(mesh) as server:
            ended = run(server)
            assert ended.code == 0, ended.words
            assert is_edition(root(server, "cacerts"), certificate(OLD))
            assert previous(server, "cacerts") == certificate(OLD)
            assert "istio-generated" in texts(server, "cacerts")
            assert behind(server, "cacerts") == []
            assert_whole(server, "cacerts")


class TestProxies:
    def test_certverify_is_clean_when_the_proxies_have_moved(self) -> None:
        with lively(istiod()) as server:
            run(server)
            assert verified(server) == 1  # the proxy holds the old edition still
            ((place, pod),) = server.mesh.pods()
            server.renew(place, pod)
            server.until(lambda: verified(server) == 0, seconds=60)

    def test_at_its_end_nothing_is_foreseen_of_the_root_that_was_replaced(self) -> None:
        with lively(istiod(replace(OLD, identifier="sha256"), control_planes=(ControlPlane(),))) as server:
            plan, ended = typed(server, "transition"), typed(server, "transition", "--apply", "--yes")
        assert f"{HOME}: the present root: renewal: istiod should have renewed the root" in plan.stdout
        assert (ended.returncode, "should have renewed" in ended.stdout) == (0, False), ended.stderr
        assert f"{HOME}: renewal: istiod renews the root by itself, due " in ended.stdout

    def test_with_wait_it_ends_when_the_last_proxy_has_moved(self) -> None:
        mesh = istiod(
            proxies=(LEDGER, Proxy("ztunnel", HOME, "ztunnel", identities=(Identity("cart", "bank"),))),
        )
        with lively(mesh, leaves=0.00005) as server:  # twelve hours are two seconds
            ended = run(server, wait=True)
            assert (ended.code, ended.states["move"]) == (0, "done"), ended.words
            assert verified(server) == 0

    def test_with_wait_the_envoys_of_citadels_era_have_moved_too(self) -> None:
        with lively(citadel()) as server:
            ended = run(server, wait=True)
            assert (ended.code, ended.states["move"]) == (0, "done"), ended.words

    def test_who_has_not_moved_when_time_is_up_is_named_and_it_is_not_done(self) -> None:
        with lively(istiod()) as server:
            ended = run(server, wait=True, timeout=12.0)
        assert ended.code == 3, ended.words
        assert "1 of 1 proxies have not moved" in ended.words
        assert "Pod bank/ledger" in ended.words

    def test_a_proxy_that_does_not_answer_is_not_taken_for_one_that_has_moved(self) -> None:
        mesh = istiod(proxies=(LEDGER, Proxy("mute", "bank", answers="refuses")))
        with lively(mesh, leaves=0.00005) as server:
            shut = run(server, wait=True)
            assert (shut.code, writes(server)) == (3, [])
            ended = run(server, wait=True, accept_unseen=True, timeout=6.0)
            assert ended.code == 3, ended.words


class TestPublished:
    def test_before_istiod_the_injectors_bundle_is_waited_for_too(self) -> None:
        with lively(citadel()) as server:
            ended = run(server)
            assert (ended.code, ended.states["publish"]) == (0, "done"), ended.words
            (hooks,) = server.objects("MutatingWebhookConfiguration")
            held = {one["clientConfig"]["caBundle"] for one in hooks["webhooks"]}
            assert [first(b64decode(one).decode()) for one in held] == [root(server)]

    def test_every_namespace_is_waited_for(self) -> None:
        with lively(istiod(namespaces=(Namespace("bank"), Namespace("shop"), Namespace("park")))) as server:
            assert run(server).code == 0
            assert len([place for place, _ in published(server) if place.startswith("ConfigMap")]) == 4
            assert behind(server) == []


class TestRestarts:
    def test_every_revision_is_restarted_and_every_replica_replaced(self) -> None:
        planes = tuple(replace(OFF, revision=revision, replicas=2) for revision in ("default", "canary"))
        with lively(istiod(control_planes=planes)) as server:
            before = _pods(server)
            ended = run(server)
            assert ended.code == 0, ended.words
            after = _pods(server)
            assert (len(before), len(after), before & after) == (4, 4, set())
            assert writes(server) == [SECRET, f"{DEPLOYMENTS}/istiod", f"{DEPLOYMENTS}/istiod-canary"]
            assert behind(server) == []

    def test_it_is_not_done_before_the_copies_are_written_by_an_istiod_that_leads(self) -> None:
        """One publishes, and the others do not: an old leader that stays would keep the old root there."""
        with lively(istiod(control_planes=(replace(OFF, replicas=3),))) as server:
            run(server)
            assert behind(server) == []
            (lock,) = (
                one
                for one in server.objects("ConfigMap")
                if one["metadata"]["name"] == "istio-namespace-controller-election"
            )
            leader = json.loads(lock["metadata"]["annotations"]["control-plane.alpha.kubernetes.io/leader"])
            assert leader["holderIdentity"] in _pods(server)

    def test_without_a_restart_it_says_when_the_control_plane_will_look(self) -> None:
        plane = ControlPlane(env={"CITADEL_SELF_SIGNED_ROOT_CERT_CHECK_INTERVAL": "30m"})
        with lively(istiod(control_planes=(plane,))) as server:
            ended = run(server, restart=False)
            assert ended.code == 0, ended.words
            assert ended.states == {"write": "done", "publish": "left to its own check"}
            assert "loads it at its own check, by " in ended.words
            assert (writes(server), started(server, "istiod")) == ([SECRET], "")

    def test_without_a_restart_and_without_a_check_nothing_would_load_it_and_it_is_not_written(self) -> None:
        with lively(istiod()) as server:
            ended = run(server, restart=False)
            assert (ended.code, writes(server)) == (2, []), ended.words
        assert "never loads it: its check is switched off" in ended.words

    def test_without_a_restart_and_with_wait_it_waits_for_that_look(self) -> None:
        plane = ControlPlane(env={"CITADEL_SELF_SIGNED_ROOT_CERT_CHECK_INTERVAL": "1m"})
        with lively(istiod(control_planes=(plane,)), leaves=0.00005) as server:
            ended = run(server, restart=False, wait=True)
            assert (ended.code, ended.states["publish"], ended.states["move"]) == (0, "done", "done"), ended.words
            assert (behind(server), writes(server)) == ([], [SECRET])

    def test_in_citadels_era_the_parts_follow_in_the_manuals_order(self) -> None:
        mesh = citadel(version="1.1.7", parts=("pilot", "galley", "sidecar-injector"), pilot_proxy=False)
        with lively(mesh) as server:
            ended = run(server, accept_unseen=True)
            assert (ended.code, set(ended.states.values())) == (1, {"done"}), ended.words  # 1.1.7 keeps the old root
            assert [path.rpartition("/")[2] for path in writes(server)] == [
                CA,
                "istio-citadel",
                "istio-galley",
                "istio-pilot",
                "istio-sidecar-injector",
            ]
            assert started(server, "istio-citadel") < started(server, "istio-galley")


def _pods(server: Server) -> set[str]:
    return {
        one["metadata"]["name"]
        for one in server.objects("Pod")
        if one["metadata"]["labels"].get("app") == "istiod" and not one["metadata"].get("deletionTimestamp")
    }


class TestExpired:
    def test_an_istiod_that_waits_for_a_valid_root_is_healed_by_the_write_alone(self) -> None:
        mesh = istiod(ENDED, control_planes=(replace(OFF, ready=False),), proxies=())
        with lively(mesh) as server:
            ended = run(server)
            assert (ended.code, ended.states) == (0, {"write": "done", "heal": "done", "publish": "done"}), ended.words
            assert (writes(server), behind(server)) == ([SECRET], [])

    def test_a_citadel_that_cannot_start_is_started_with_the_new_root(self) -> None:
        mesh = citadel(ENDED, control_planes=(ControlPlane(ready=False),), proxies=())
        with lively(mesh) as server:
            ended = run(server, accept_unseen=True)
            assert ended.code == 0, ended.words
            assert behind(server) == []

    @both_eras
    def test_an_expired_root_that_was_replaced_and_is_not_loaded_yet_is_not_taken_for_done(self, era: str) -> None:
        mesh = ERAS[era](ENDED, control_planes=(replace(OFF, ready=False),), proxies=())
        with lively(mesh) as server:
            cut_after_the_write(server)
            ended = run(server)
            assert ended.code == 0, ended.words
            assert behind(server) == []


class TestTimeout:
    """Whatever it waits for, time is up at some time: 3, and what it was that did not come."""

    @both_eras
    def test_a_rollout_that_does_not_come_to_its_end(self, era: str) -> None:
        with lively(ERAS[era](proxies=()), pace=2.0) as server:
            ended = run(server, timeout=1.0)
            assert (ended.code, ended.states["restart"]) == (3, "not finished"), ended.words
            assert ended.states["publish"] == "planned"
            assert "not finished before --timeout: " in ended.words
            assert ended.line.startswith("stopped after 1 of 3 steps")
            assert is_edition(root(server), previous(server))

    def test_copies_that_do_not_come(self) -> None:
        with lively(istiod(proxies=(), control_planes=(_SELDOM,))) as server:
            ended = run(server, restart=False, wait=True, timeout=1.0)
        assert (ended.code, ended.states["publish"]) == (3, "not finished"), ended.words
        assert "not there yet" in ended.words

    def test_secrets_of_workloads_that_do_not_come(self) -> None:
        with lively(citadel(proxies=(), control_planes=(_SELDOM,))) as server:
            ended = run(server, restart=False, wait=True, timeout=1.0)
        assert (ended.code, ended.states["publish"]) == (3, "not finished"), ended.words
        assert "Secrets are not rewritten yet" in ended.words

    def test_a_root_that_heals_nothing(self) -> None:
        mesh = istiod(ENDED, control_planes=(replace(OFF, ready=False),), proxies=())
        with lively(mesh, pace=5.0) as server:
            ended = run(server, timeout=1.0)
        assert (ended.code, ended.states["heal"]) == (3, "not finished"), ended.words


class TestKeyIdentifier:
    def test_drop_takes_it_out_and_nothing_else(self) -> None:
        with lively(istiod()) as server:
            old = root(server)
            ended = run(server, drop=True)
            assert ended.code == 0, ended.words
            new = root(server)
        names = [one.oid._name for one in old.extensions]  # noqa: SLF001 - the library tells names nowhere else
        assert [one.oid._name for one in new.extensions] == [one for one in names if one != "subjectKeyIdentifier"]  # noqa: SLF001
        assert new.subject.public_bytes() == old.subject.public_bytes()

    def test_a_root_that_lasts_is_written_again_where_its_identifier_is_to_go(self) -> None:
        with lively(istiod()) as server:
            run(server)
            kept = root(server)
            assert run(server, drop=True).code == 0
            assert (previous(server), editions(server)[1]) == (kept, kept)
            assert run(server, drop=True).line == "nothing to do"


class TestInTheMiddle:
    """The next run reads from the certificates where it stands, says it, and goes on."""

    @both_eras
    def test_what_was_written_and_not_loaded_is_loaded(self, era: str) -> None:
        with lively(ERAS[era]()) as server:
            cut_after_the_write(server)
            seen = run(server, apply=False)
            assert "the root in the Secret is not loaded yet" in seen.words
            ended = run(server)
            assert (ended.code, list(ended.states)) == (0, ["restart", "publish"]), ended.words
            assert behind(server) == []
            assert len(editions(server)) == 2

    @both_eras
    def test_a_restore_that_was_cut_short_goes_on_and_does_not_swap_back(self, era: str) -> None:
        with lively(changed(era)) as server:
            cut_after_the_write(server, Verb.RESTORE)
            ended = restore(server)
            assert ended.code == 0, ended.words
            assert len(editions(server)) == 2
            assert (root(server), behind(server)) == (editions(server)[1], [])

    def test_a_transition_finishes_a_restore_that_was_cut_short(self) -> None:
        with lively(changed()) as server:
            cut_after_the_write(server, Verb.RESTORE)
            ended = run(server)
            assert ended.code == 0, ended.words
            assert (root(server), behind(server)) == (certificate(OLD), [])

    @both_eras
    def test_a_restore_takes_back_what_is_written_and_not_loaded(self, era: str) -> None:
        with lively(ERAS[era]()) as server:
            old = root(server)
            cut_after_the_write(server)
            new = root(server)
            ended = restore(server)
            assert ended.code == 0, ended.words
            assert (root(server), previous(server), behind(server)) == (old, new, [])
            assert_whole(server)

    def test_a_restore_takes_back_what_is_half_published(self) -> None:
        with lively(istiod()) as server:
            server.on(lambda _: server.faults.add(Answer(403), path=BUNDLES), method="PATCH", path=f"{DEPLOYMENTS}/*")
            cut = run(server, timeout=8.0)
            assert (cut.code, cut.states["restart"]) == (3, "done"), cut.words
            server.faults.clear()
            old, new = previous(server), root(server)
            ended = restore(server)
            assert ended.code == 0, ended.words
            assert (root(server), previous(server), behind(server)) == (old, new, [])


class TestGates:
    def test_what_is_blocked_is_opened_by_no_word(self) -> None:
        mesh = istiod(edits=(Edit(kind="Secret", namespace=HOME, name=CA, patch={"immutable": True}),))
        with lively(mesh) as server:
            ended = run(server, accept_unseen=True)
            assert (ended.code, writes(server)) == (2, [])
            assert "not applied: it is blocked" in ended.words

    def test_what_is_not_seen_is_opened_by_the_word_for_it_alone(self) -> None:
        mesh = istiod(proxies=(LEDGER, Proxy("mute", "bank", answers="refuses")))
        with lively(mesh) as server:
            shut = run(server)
            assert (shut.code, writes(server)) == (3, [])
            assert "not applied: something could not be seen (--accept-unseen" in shut.words
            assert "Pod bank/mute" in shut.words
            ended = run(server, accept_unseen=True)
            assert (ended.code, set(ended.states.values())) == (0, {"done"}), ended.words

    def test_both_blocked_and_not_seen_is_blocked(self) -> None:
        mesh = istiod(
            proxies=(Proxy("mute", "bank", answers="refuses"),),
            edits=(Edit(kind="Secret", namespace=HOME, name=CA, patch={"immutable": True}),),
        )
        with lively(mesh) as server:
            assert (run(server, accept_unseen=True).code, writes(server)) == (2, [])


def test_each_step_is_told_when_it_begins() -> None:
    with lively(istiod()) as server:
        ended: Ended = run(server)
    assert [line.partition(" ")[0] for line in ended.told] == ["1/3", "2/3", "3/3"]
    assert all("; waits for " in line for line in ended.told)


def test_the_command_line_does_it_all_and_says_so() -> None:
    with lively(istiod()) as server:
        done = typed(server, "transition", "--apply", "--yes")
        assert (done.returncode, "ok: 3 of 3 steps done" in done.stdout) == (0, True), done.stdout + done.stderr
        told = typed(server, "restore", "--apply", "--yes", "-o", "json")
        assert told.returncode == 0
        assert [row["state"] for row in json.loads(told.stdout)["rows"]] == ["done"] * 3
        assert_whole(server)

"""The plan of a change of the root: old and new side by side, the steps in their order, and what it means in words."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

import meshes
from changed_meshes import HOME, SECRET, SHA1, ending_in, renewing, texts, wished, without_private_key
from meshes import NOW, OFF, RENEWED, ROOT, STRANGE, certificate_of, citadel, days, istiod
from meshtrust.certificates import parse_pem
from meshtrust.errors import UsageError
from planned import acts, levels, live, problems, read, recorded, steps
from restored_meshes import AFTER_A_CHANGE, RESTORE
from restored_meshes import ALL as CASES
from sandbox import Authority, ControlPlane, Leaf, Mesh, Proxy
from sandbox.server import serve
from verified_meshes import EVERYTHING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from meshtrust.report import Report

MESH = istiod(proxies=EVERYTHING)
CHECKED_EVERY = "CITADEL_SELF_SIGNED_ROOT_CERT_CHECK_INTERVAL"


def compared(found: Report) -> dict[str, tuple[str, str, str]]:
    """Of the two roots side by side: each line by its title."""
    assert found.summary is not None
    return {title: (now, then, verdict) for title, now, then, verdict in found.summary.lines}


def changed(found: Report) -> set[str]:
    return {title for title, (_, _, verdict) in compared(found).items() if verdict != "same"}


def written(found: Report) -> dict[str, str]:
    """The data of the patch, as texts."""
    data = found.details["plan"]["patch"]["data"]
    return {key: base64.b64decode(text).decode() for key, text in data.items()}


def fingerprints(text: str) -> list[str]:
    return [one.fingerprint for one in parse_pem(text).certificates]


def said(found: Report, word: str) -> list[str]:
    return [line for line in found.remarks if word in line]


# Old and new, side by side.


class TestSideBySide:
    def test_kept_is_everything_but_serial_and_dates(self, tmp_path: Path) -> None:
        found = recorded(MESH, tmp_path)
        assert changed(found) == {"fingerprint", "serial", "valid from", "valid until"}
        assert len(compared(found)) == 9

    def test_dropped_is_the_key_identifier_and_its_extension(self, tmp_path: Path) -> None:
        found = recorded(istiod(ca=Authority(root=SHA1)), tmp_path, wished(drop=True))
        assert changed(found) - changed(recorded(MESH, tmp_path)) == {"key identifier", "extensions"}
        assert compared(found)["key identifier"][1] == "<none>"

    def test_a_weak_signature_gives_way(self, tmp_path: Path) -> None:
        found = recorded(istiod(ca=Authority(root=replace(ROOT, signature="sha1"))), tmp_path)
        assert compared(found)["signed with"] == ("RSA-SHA1", "RSA-SHA256", "changes")

    def test_the_new_one_begins_an_hour_ago_and_ends_when_it_was_asked_to(self, tmp_path: Path) -> None:
        new = recorded(MESH, tmp_path, wished(lifetime=days(4000))).details["plan"]["new"]
        assert (new["not_before"], new["not_after"]) == tuple(
            f"{NOW + span:%Y-%m-%dT%H:%M:%SZ}" for span in (timedelta(hours=-1), days(4000))
        )

    def test_the_previous_root_is_put_back_as_it_was(self, tmp_path: Path) -> None:
        found = recorded(AFTER_A_CHANGE, tmp_path, RESTORE)
        assert found.details["plan"]["new"]["fingerprint"] == fingerprints(certificate_of(ROOT))[0]
        assert changed(found) == {"fingerprint", "serial", "valid from", "valid until"}

    def test_nothing_stands_beside_a_root_that_is_left_alone(self, tmp_path: Path) -> None:
        assert recorded(CASES["as-long-as-was-asked-for"].mesh, tmp_path).summary is None

    def test_what_cannot_be_signed_here_is_told_as_far_as_it_is_known(self, tmp_path: Path) -> None:
        found = recorded(without_private_key(MESH), tmp_path)
        assert compared(found)["serial"][1] == "<another>"
        assert compared(found)["valid until"][2] == "changes"
        assert found.details["plan"]["new"] is None
        assert "root-proven" in found.not_asked
        assert (str(found.status), acts(found)) == ("ok", ("write", "restart", "publish"))


# What is written into the Secret: public parts, and no more of them than must be.


class TestWritten:
    def test_is_the_new_root_and_the_one_before_with_a_note_of_it(self, tmp_path: Path) -> None:
        found = recorded(istiod(version="1.10.2"), tmp_path)
        plan, data = found.details["plan"], written(found)
        assert data.keys() == {"ca-cert.pem", "previous-ca-cert.pem"}
        assert fingerprints(data["ca-cert.pem"]) == [plan["new"]["fingerprint"]]
        assert fingerprints(data["previous-ca-cert.pem"]) == [plan["old"]["fingerprint"]]
        note = f"# superseded by sha256:{plan['new']['fingerprint']} at {NOW:%Y-%m-%dT%H:%M:%SZ}"
        assert data["previous-ca-cert.pem"].splitlines()[0] == note
        assert plan["patch"].keys() == {"metadata", "data"}

    def test_is_guarded_by_the_version_that_was_read(self) -> None:
        with serve(MESH) as server:
            found = live(server)
            (secret,) = [one for one in server.objects("Secret") if one["metadata"]["name"] == SECRET]
        assert found.details["plan"]["patch"]["metadata"] == {"resourceVersion": secret["metadata"]["resourceVersion"]}

    def test_a_filled_root_file_is_written_and_an_empty_one_is_not(self, tmp_path: Path) -> None:
        filled, empty = (written(recorded(istiod(version=version), tmp_path)) for version in ("1.20.0", "1.19.0"))
        assert filled["root-cert.pem"] == filled["ca-cert.pem"]
        assert "root-cert.pem" not in empty

    def test_a_stale_older_edition_in_the_root_file_gives_way(self, tmp_path: Path) -> None:
        older = replace(ROOT, starts=days(-400))
        found = recorded(istiod(edits=(texts(root_cert=certificate_of(older)),)), tmp_path)
        assert written(found)["root-cert.pem"] == written(found)["ca-cert.pem"]

    def test_two_editions_in_the_root_file_become_one(self, tmp_path: Path) -> None:
        older = replace(ROOT, starts=days(-400))
        both = texts(root_cert=certificate_of(older) + certificate_of(ROOT))
        found = recorded(istiod(edits=(both,)), tmp_path)
        assert written(found)["root-cert.pem"] == written(found)["ca-cert.pem"]

    def test_further_roots_in_either_file_stay_in_their_places(self, tmp_path: Path) -> None:
        own, strange, third = (certificate_of(ca) for ca in (ROOT, STRANGE, replace(STRANGE, key="third")))
        edit = texts(ca_cert=own + strange, root_cert=third + own + strange)
        data, new = (found := written(recorded(istiod(edits=(edit,)), tmp_path))), fingerprints(found["ca-cert.pem"])[0]
        (_, other), (last, _, _) = fingerprints(own + strange), fingerprints(third + own + strange)
        assert fingerprints(data["ca-cert.pem"]) == [new, other]
        assert fingerprints(data["root-cert.pem"]) == [last, new, other]

    def test_the_root_kept_before_gives_way_to_the_present_one(self, tmp_path: Path) -> None:
        found = recorded(AFTER_A_CHANGE, tmp_path, wished(lifetime=days(5000)))
        assert fingerprints(written(found)["previous-ca-cert.pem"]) == fingerprints(certificate_of(RENEWED))

    def test_a_restore_can_itself_be_restored(self, tmp_path: Path) -> None:
        back = written(recorded(AFTER_A_CHANGE, tmp_path, RESTORE))
        names = {"ca-cert.pem": "ca_cert", "root-cert.pem": "root_cert", "previous-ca-cert.pem": "previous_ca_cert"}
        edit = texts(**{names[key]: text for key, text in back.items()})
        forth = recorded(istiod(control_planes=AFTER_A_CHANGE.control_planes, edits=(edit,)), tmp_path, RESTORE)
        assert levels(forth) == {}
        assert fingerprints(written(forth)["ca-cert.pem"]) == fingerprints(certificate_of(RENEWED))

    def test_what_signs_in_a_generated_cacerts_is_written_there(self, tmp_path: Path) -> None:
        found = recorded(CASES["a-generated-cacerts"].mesh, tmp_path)
        assert steps(found)[0] == ("write", f"Secret {HOME}/cacerts")
        assert written(found).keys() == {"ca-cert.pem", "root-cert.pem", "previous-ca-cert.pem"}


# The steps.


class TestRecordingsThatLackSomething:
    """What `kubectl get KIND,KIND -A -o yaml` leaves out is not asked, or unknown: never fine."""

    def of(self, folder: Path, mesh: Mesh, *kinds: str) -> Report:
        path = folder / "mesh.json"
        listed = [one for one in mesh.objects() if one["kind"] in kinds]
        path.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": listed}))
        return read(path)

    def test_the_secrets_alone_tell_nothing_of_who_runs_and_who_holds_what(self, tmp_path: Path) -> None:
        found = self.of(tmp_path, istiod(), "Secret")
        assert (str(found.status), acts(found)) == ("unknown", ("write",))
        assert {"ca-managed", "restart-safe", "control-plane-ready", "renewal-far"} <= set(found.not_asked)
        assert {"change-finished", "copies-known", "proxies-unharmed"} <= levels(found).keys()
        assert not said(found, "renew")

    def test_without_the_webhooks_the_copies_are_judged_all_the_same(self, tmp_path: Path) -> None:
        mesh = CASES["a-copy-of-another-root"].mesh
        found = self.of(tmp_path, mesh, "Secret", "ConfigMap", "Pod", "Deployment")
        assert levels(found) == {"copies-known": "critical"}
        assert "webhooks-known" in found.not_asked

    def test_without_the_deployments_no_restart_can_be_planned_and_their_state_is_not_asked(
        self, tmp_path: Path
    ) -> None:
        found = self.of(tmp_path, istiod(), "Secret", "ConfigMap", "Pod")
        assert "restart" not in acts(found)
        assert "control-plane-ready" in found.not_asked


class TestSteps:
    def test_every_revision_is_restarted(self, tmp_path: Path) -> None:
        found = recorded(CASES["several-revisions-of-one-root"].mesh, tmp_path)
        assert [place for act, place in steps(found) if act == "restart"] == [
            f"Deployment {HOME}/istiod",
            f"Deployment {HOME}/istiod-canary",
        ]

    def test_of_two_revisions_only_the_one_that_started_before_the_write_is_restarted(self, tmp_path: Path) -> None:
        found = recorded(CASES["written-and-loaded-by-one-of-two-revisions"].mesh, tmp_path)
        assert steps(found)[0] == ("restart", f"Deployment {HOME}/istiod")

    def test_a_revision_scaled_to_zero_is_not_restarted(self, tmp_path: Path) -> None:
        mesh = istiod(control_planes=(ControlPlane(), ControlPlane(revision="gone", replicas=0)))
        assert acts(recorded(mesh, tmp_path)) == ("write", "restart", "publish")

    @pytest.mark.parametrize(
        ("parts", "restarted"),
        [
            ({"version": "1.0.6", "pilot_proxy": False}, ("galley", "pilot", "sidecar-injector")),
            ({"version": "1.1.7"}, ("galley", "sidecar-injector")),
            ({"version": "1.1.8"}, ("galley",)),
            ({"version": "1.4.10", "pilot_proxy": False}, ("galley", "pilot")),
            ({"parts": ()}, ()),
        ],
        ids=str,
    )
    def test_after_citadel_come_the_parts_that_read_once_in_the_manuals_order(
        self, parts: Mapping[str, Any], restarted: tuple[str, ...], tmp_path: Path
    ) -> None:
        found = recorded(citadel(**parts), tmp_path)
        assert [place for act, place in steps(found) if act == "restart-parts"] == [
            f"Deployment {HOME}/istio-{name}" for name in restarted
        ]
        assert acts(found)[:3] == ("write", "restart", "publish")

    def test_one_of_several_meshes_is_chosen_by_its_namespace(self) -> None:
        with serve(meshes.CASES["healthy-two-meshes"].mesh) as server:
            with pytest.raises(UsageError, match="2 control planes are here: istio-system, istio-two") as refused:
                live(server)
            found = live(server, home="istio-two")
        assert levels(found) == {}  # the webhooks of the other one are not its orphans
        assert refused.value.hint == "-i NAMESPACE says whose root is meant"
        assert steps(found)[:2] == [
            ("write", "Secret istio-two/istio-ca-secret"),
            ("restart", "Deployment istio-two/istiod-two"),
        ]

    def test_an_expired_root_lists_what_must_be_restarted(self, tmp_path: Path) -> None:
        mesh = CASES["expired-and-not-ready"].mesh
        found = recorded(mesh, tmp_path)
        assert steps(found)[1] == ("heal", f"Deployment {HOME}/istiod")
        first, *others = found.commands
        assert first == "kubectl rollout restart deploy/ledger -n bank"
        assert "kubectl rollout restart deploy/web -n shop" in others
        assert said(found, "with a certificate that lives on and no root that does: they refuse everybody")
        assert said(found, "without a restart")
        assert found.details["plan"]["expired"] is True
        assert not said(found, "old and new accept each other")

    def test_a_root_in_date_lists_nothing_to_be_restarted(self, tmp_path: Path) -> None:
        assert recorded(MESH, tmp_path).commands == ()

    def test_a_root_that_ends_before_its_proxies_move_lists_what_must_be_restarted(self, tmp_path: Path) -> None:
        in_time = replace(EVERYTHING[0], leaf=Leaf(issued=timedelta(hours=-2), ends=timedelta(hours=5)))
        found = recorded(renewing(ending_in(5), (in_time, *EVERYTHING[2:4]), **OFF), tmp_path)
        assert [place.partition("-")[0] for _, place, _ in problems(found)] == ["Pod shop/web"] * 2
        assert found.commands == ("kubectl rollout restart deploy/web -n shop",)
        assert not said(found, "old and new accept each other")


# What it means, in words.


class TestWords:
    def test_a_plan_of_a_living_cluster_begins_with_which_one_it_is_and_that_of_a_recording_does_not(
        self, tmp_path: Path
    ) -> None:
        with serve(MESH) as server:
            found = live(server)
        kept = recorded(MESH, tmp_path)
        assert found.remarks == (f'context "sandbox" ({server.url})', *kept.remarks)
        assert (found.details["plan"]["cluster"], kept.details["plan"]["cluster"]) == (found.remarks[0], None)

    def test_a_recording_is_told_how_to_write_the_patch_and_a_living_cluster_how_to_apply_it(
        self, tmp_path: Path
    ) -> None:
        with serve(MESH) as server:
            assert live(server).verdict == "3 steps, nothing is written yet: --apply carries them out"
        unseen = istiod(proxies=(Proxy("mad", "shop", answers="garbage"),))
        on_living = "3 steps on a living cluster; --emit FILE"
        assert recorded(MESH, tmp_path).verdict == f"{on_living} writes the patch"
        assert recorded(without_private_key(MESH), tmp_path).verdict == f"{on_living} --key-file KEY writes the patch"
        assert recorded(unseen, tmp_path).verdict == f"{on_living} --accept-unseen writes the patch"

    def test_no_patch_is_offered_where_nothing_is_to_be_written(self, tmp_path: Path) -> None:
        assert recorded(CASES["written-and-not-loaded"].mesh, tmp_path).verdict == "2 steps on a living cluster"

    def test_proxies_move_with_their_leaves_the_last_of_them_by_its_time(self, tmp_path: Path) -> None:
        found = recorded(MESH, tmp_path)
        (line,) = said(found, "with their next certificate")
        assert line.startswith(f"{HOME}: 8 of 8 proxies")
        assert found.details["plan"]["moves_by"] in line

    def test_a_renewal_that_will_part_proxies_is_called_out_for_both_roots(self, tmp_path: Path) -> None:
        aging = replace(SHA1, starts=days(-2900.5), ends=days(749.5))
        now, then = said(recorded(istiod(ca=Authority(root=aging)), tmp_path), "the key identifier will change")
        assert f"due {NOW + days(19.5):%Y-%m-%d}, in 19 days" in now
        assert f"due {NOW + days(3650) - 0.2 * (days(3650) + timedelta(hours=1)):%Y-%m-%d}" in then

    def test_dropping_the_identifier_says_who_must_have_moved_before_the_next_step(self, tmp_path: Path) -> None:
        found = recorded(CASES["identifier-dropped"].mesh, tmp_path, wished(drop=True))
        (line,) = said(found, "every proxy must hold this root")
        assert found.details["plan"]["moves_by"] in line
        assert len(said(found, "the key identifier will change")) == 1  # of the present root alone

    @pytest.mark.parametrize(
        ("plane", "when"),
        [
            (ControlPlane(), f"loads it at its own check, by {NOW + timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}"),
            (
                ControlPlane(started=timedelta(minutes=-10)),
                f"loads it at its own check, by {NOW + timedelta(minutes=110):%Y-%m-%dT%H:%M:%SZ}",
            ),
            (
                ControlPlane(env={CHECKED_EVERY: "6h"}),
                f"loads it at its own check, by {NOW + timedelta(hours=6):%Y-%m-%dT%H:%M:%SZ}",
            ),
            (ControlPlane(env=OFF), "never loads it: its check is switched off"),
            (
                ControlPlane(env={CHECKED_EVERY: {"configMapKeyRef": {"name": "x", "key": "y"}}}),
                "may load it: how often it looks could not be seen (its setting comes by valueFrom)",
            ),
        ],
        ids=["hourly", "just-started", "every-six-hours", "switched-off", "unseen"],
    )
    def test_without_a_restart_it_says_by_when_the_root_is_loaded(
        self, plane: ControlPlane, when: str, tmp_path: Path
    ) -> None:
        found = recorded(istiod(control_planes=(plane,)), tmp_path, wished(restart=False))
        (line,) = said(found, "without a restart")
        assert line.startswith(f"{HOME}: without a restart istiod-")
        assert line.endswith(f" {when}")

    def test_a_citadel_without_a_rotator_never_loads_it(self, tmp_path: Path) -> None:
        found = recorded(citadel(version="1.1.10"), tmp_path, wished(restart=False))
        assert said(found, "without a restart istio-citadel-")[0].endswith("reads its root at its start alone")

    def test_envoys_that_read_files_are_hot_restarted(self, tmp_path: Path) -> None:
        mesh = citadel(proxies=(Proxy("ledger", "bank"), Proxy("web", "shop")))
        assert said(recorded(mesh, tmp_path), "hot-restarted")[0].startswith(f"{HOME}: 3 Envoys")  # and Pilot's own
        assert not said(recorded(MESH, tmp_path), "hot-restarted")


STAGES = {
    "an-istiod": "fresh",
    "written-and-not-loaded": "written",
    "loaded-and-not-published": "loaded",
    "written-and-not-loaded-by-a-citadel": "written",
    "loaded-and-not-published-by-a-citadel": "loaded",
    "written-where-the-copy-at-home-is-missing": "written",
    "loaded-where-the-copy-at-home-is-missing": "loaded",
    "published-where-the-copy-at-home-is-missing": "fresh",
    "published-by-one-of-two-revisions": "published",
    "published-by-a-renewal-that-nobody-asked-for": "fresh",
    "published-by-the-only-revision-that-runs": "fresh",
    "published-and-not-to-be-restarted": "fresh",
    "published-by-a-citadel-whose-galley-reads-once": "published",
    "published-by-a-citadel-before-its-galley-started": "fresh",
    "restored-cut-short": "written",
    "restored-cut-short-between-its-restarts": "published",
}


@pytest.mark.parametrize("name", STAGES)
def test_where_a_change_stands_is_read_from_the_certificates(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    plan = recorded(case.mesh, tmp_path, replace(case.wish, lifetime=days(5000))).details["plan"]
    assert plan["stage"] == STAGES[name]
    assert plan["writes"] is (plan["stage"] == "fresh")
    assert (plan["patch"] is None) is (plan["stage"] != "fresh")

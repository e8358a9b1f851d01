"""Every mesh of `verified_meshes` gets its verdict, from an API server and from a recording alike."""

from __future__ import annotations

import io
import json
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from meshes import CITADEL_ROOT, CORPORATE, PLUGGED, RENEWED, ROOT, STRANGE, citadel, istiod
from meshtrust.manifests import Recording
from sandbox import Account, Authority, ControlPlane, Edit, Identity, Leaf, Namespace, Proxy
from sandbox.server import serve
from transitions import typed
from verified_meshes import CASES, FOR_TWO, dump, two_citadels
from verifying import levels, live, recorded, verified

if TYPE_CHECKING:
    from pathlib import Path

    from sandbox import Mesh


@pytest.mark.parametrize("name", CASES)
def test_a_mesh_gets_its_verdict(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    found = recorded(case.mesh, tmp_path)
    wanted = {check: level for check, level in case.findings.items() if level != "ok"}
    assert (str(found.status), levels(found)) == (case.status, wanted)


@pytest.mark.parametrize("name", CASES)
def test_an_object_is_named_once(name: str, tmp_path: Path) -> None:
    found = recorded(CASES[name].mesh, tmp_path)
    named = [problem.place for finding in found.findings for problem in finding.problems]
    assert len(named) == len(set(named))


@pytest.mark.parametrize("name", [name for name in CASES if name != "refused"])
def test_a_living_mesh_gets_the_same_report(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    with serve(case.mesh) as server:
        seen = live(server)
    read = recorded(case.mesh, tmp_path)
    assert (seen.rows, seen.status, levels(seen)) == (read.rows, read.status, levels(read))
    assert (seen.table, seen.remarks, seen.commands) == (read.table, read.remarks, read.commands)


def told(mesh: Mesh, *arguments: str, forbidden: str = "") -> tuple[int, list[str]]:
    """Exit code and lines of the command line on the pretend cluster, as if the mesh had been described just now."""
    with serve(replace(mesh, now=datetime.now(UTC))) as server:
        if forbidden:
            server.access.forbid("list", forbidden)
        done = typed(server, *arguments, module="istio_certverify")
    return done.returncode, done.stdout.splitlines()


def test_a_root_that_ends_before_its_proxy_moves_is_critical_in_one_sentence() -> None:
    ends = Proxy("web", "shop", holds=(replace(ROOT, ends=timedelta(hours=2)),))
    code, lines = told(istiod(proxies=(ends,)))
    (said,) = (line for line in lines if line.startswith("  Pod shop/web-"))
    assert (code, said.count("Z"), said.endswith(": in between it refuses everybody")) == (2, 2, True)
    assert "kubectl rollout restart deploy/web -n shop" in lines
    assert ", 1 holds a root that ends before it moves; the last moves by " in lines[-1]


def test_a_leaf_of_citadels_era_that_no_secret_shows_is_unknown_or_not_asked() -> None:
    foreign = Leaf(signed_by=STRANGE, issued=timedelta(days=-10), ends=timedelta(days=80))
    mesh = citadel(proxies=(Proxy("web", "shop"), Proxy("odd", "shop", leaf=foreign)))
    code, lines = told(mesh)
    (unknown,) = (line for line in lines if line.startswith("live ") and line.endswith("unknown"))
    assert (code, "Pod shop/odd-" in unknown) == (3, True)
    assert any(line.startswith("unknown: leaf-verifies: ") for line in lines)
    code, lines = told(mesh, "--live")
    (left_out,) = (line for line in lines if line.startswith("not asked: "))
    assert (code, left_out.endswith(", leaf-verifies")) == (0, True)


def test_the_one_whose_root_is_the_odd_one_is_blamed_and_the_others_are_counted() -> None:
    odd = Proxy("odd", "shop", holds=(replace(ROOT, subject="O=other"),))
    code, lines = told(istiod(proxies=(*(Proxy(f"web-{number}", "shop") for number in range(3)), odd)))
    (said,) = (line for line in lines if line.startswith("  Pod "))
    assert (code, "/odd-" in said, said.endswith("; it refuses the leaves of 3 proxies")) == (2, True, True)
    assert [line for line in lines if line.startswith("kubectl")] == ["kubectl rollout restart deploy/odd -n shop"]


def test_a_root_that_has_ended_is_said_first_with_what_gives_another() -> None:
    ended = Authority(root=replace(ROOT, ends=timedelta(hours=-1)))
    code, lines = told(istiod(ca=ended, control_planes=(ControlPlane(ready=False),)))
    assert (code, lines[-1].startswith("critical: the root that signs: expired 60 minutes ago; checked ")) == (2, True)
    assert "  -> kubectl istio-root transition --apply" in lines


AMBIENT = (Identity("cart", "shop"),)
ENDED, CITADELS_ENDED = (replace(root, ends=timedelta(hours=-1)) for root in (ROOT, CITADEL_ROOT))
HOLDERS = (Proxy("web", "shop"), Proxy("web", "shop"), Proxy("ztunnel", "istio-system", "ztunnel", identities=AMBIENT))
OF_AN_ENDED_ROOT = {
    "istiod": (
        istiod(ca=Authority(root=ENDED), proxies=HOLDERS),
        {"sidecar": 2, "ztunnel identity": 1, "ConfigMap": 3, "webhook": 3, "Secret": 1},
    ),
    "citadel": (
        citadel(ca=Authority(root=CITADELS_ENDED), proxies=HOLDERS[:2]),
        {"sidecar": 3, "workload Secret": 8, "ConfigMap": 1, "webhook": 1, "Secret": 1},
    ),
}


@pytest.mark.parametrize("era", OF_AN_ENDED_ROOT)
def test_who_holds_a_root_that_has_ended_is_no_better_than_it(era: str) -> None:
    mesh, holders = OF_AN_ENDED_ROOT[era]
    code, lines = told(mesh, "-o", "json")
    rows = json.loads("\n".join(lines))["rows"]
    assert (code, Counter(row["holder"] for row in rows if row["level"] == "critical")) == (2, holders)
    assert {(row["level"], "root-known" in row["checks"]) for row in rows} == {("critical", True)}
    assert all("expired 60 minutes ago" in row["detail"] for row in rows)


@pytest.mark.parametrize("era", OF_AN_ENDED_ROOT)
def test_a_root_that_has_ended_is_said_once_and_no_restart_is_advised(era: str) -> None:
    mesh, holders = OF_AN_ENDED_ROOT[era]
    code, lines = told(mesh)
    groups = [line for line in lines if line.startswith(("live ", "stored "))]
    assert (code, len(groups), all(line.endswith(" critical") for line in groups)) == (2, len(holders), True)
    assert sum(line.startswith("  Secret ") for line in lines) == 1
    assert not [line for line in lines if line.startswith(("kubectl", "  Pod ", "  ConfigMap "))]
    number = sum(holders.values())
    told_last = f"critical: the root that signs: expired 60 minutes ago; checked {number} of {number}, as of "
    assert lines[-1].startswith(told_last)


def test_leaves_that_ended_with_their_root_are_named_and_not_counted_again() -> None:
    gone = Leaf(issued=timedelta(hours=-25), ends=timedelta(hours=-1))
    mesh = istiod(ca=Authority(root=ENDED), proxies=tuple(Proxy("web", "shop", leaf=gone) for _ in range(3)))
    code, lines = told(mesh, "--live")
    (group,) = (line for line in lines if line.startswith("live "))
    assert (code, "  3 sidecars  " in group, sum(": its leaf: expired " in line for line in lines)) == (2, True, 3)
    assert [line.partition(":")[0] for line in lines if line.startswith("  -> ")] == [
        "  -> kubectl istio-root transition --apply",
        "  -> its root is not valid either",
    ]
    assert lines[-1].startswith("critical: the root that signs: expired 60 minutes ago; checked 3 of 3, as of ")


def test_who_holds_a_valid_edition_beside_a_root_that_has_ended_is_fine() -> None:
    both = Proxy("both", "shop", holds=(ENDED, RENEWED))
    _, lines = told(istiod(ca=Authority(root=ENDED), proxies=(both, *HOLDERS[:1])), "--live", "-o", "json")
    levels = {row["place"].partition("-")[0]: row["level"] for row in json.loads("\n".join(lines))["rows"]}
    assert levels == {"Pod shop/both": "ok", "Pod shop/web": "critical"}


UNFIT = {
    "issuing-ca-expired": "what signs: expired 24 hours ago",
    "issuing-ca-expired-citadel": "what signs: expired 24 hours ago",
    "issuing-ca-not-valid-yet": "what signs: not valid yet, begins in 23 hours",
    "issuing-ca-below-an-expired-one": " above what signs: expired 24 hours ago",
    "issuing-ca-that-is-none": "what signs is no CA (CA:TRUE is missing)",
    "issuing-ca-of-another-root": "what signs does not verify up to a root of its bundle",
    "signing-root-that-is-no-ca": "what signs is no CA (CA:TRUE is missing)",
}


@pytest.mark.parametrize(
    ("name", "halves"),
    [*((name, ()) for name in UNFIT), *((name, ("--live",)) for name in UNFIT if "citadel" not in name)],
)
def test_a_ca_of_which_no_leaf_verifies_is_said_once_and_no_restart_is_advised(
    name: str, halves: tuple[str, ...]
) -> None:
    code, lines = told(CASES[name].mesh, *halves)
    (said,) = (line for line in lines if line.startswith("  Secret istio-system/"))
    assert (code, said.endswith(UNFIT[name]), f"{UNFIT[name]}; checked " in lines[-1]) == (2, True, True)
    assert not [line for line in lines if line.startswith(("kubectl", "  Pod ", "  Secret bank/"))]
    holders = [line.split() for line in lines if line.startswith("live ") or " workload Secrets " in line]
    assert {(line[-4], line[-2], line[-1]) for line in holders} == {("no", "<none>", "critical")}
    assert not [words for words in (" with other problems", " moves by ") if words in lines[-1]]


def test_a_leaf_of_another_ca_is_its_own_fault_beside_a_ca_that_is_no_good() -> None:
    mesh = CASES["issuing-ca-expired"].mesh
    odd = Proxy("odd", "shop", leaf=Leaf(signed_by=STRANGE))
    code, lines = told(replace(mesh, proxies=(*mesh.proxies, odd)), "--live")
    (said,) = (line for line in lines if line.startswith("  Pod "))
    hints = [line.partition(":")[0] for line in lines if line.startswith("  -> ")]
    assert (code, said.startswith("  Pod shop/odd-"), hints[-1]) == (2, True, "  -> first mend the CA (root-known)")
    assert not [line for line in lines if line.startswith("kubectl")]
    assert " checked 9 of 9, 1 with other problems, as of " in lines[-1]


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("issuing-ca-expired-above-the-leaves-alone", "kubectl rollout restart deploy/web -n shop"),
        ("issuing-ca-expired-above-the-leaves-alone", "kubectl rollout restart ds/ztunnel -n istio-system"),
        ("issuing-ca-expired-above-citadels-leaves-alone", "kubectl delete secret istio.default -n bank"),
        ("issuing-ca-expired-above-citadels-leaves-alone", "kubectl rollout restart deploy/ledger -n bank"),
    ],
)
def test_an_expired_link_above_a_leaf_is_its_holders_where_the_ca_has_a_valid_one(name: str, command: str) -> None:
    code, lines = told(CASES[name].mesh)
    holders = [line for line in lines if line.startswith(("  Pod ", "  Secret "))]
    assert (code, {line.rpartition(" above it: ")[2] for line in holders}) == (2, {"expired 24 hours ago"})
    assert command in lines


def test_an_issuing_ca_is_judged_as_of_the_time_that_was_asked_for(tmp_path: Path) -> None:
    mesh = istiod(ca=PLUGGED)
    later = (datetime.now(UTC) + timedelta(days=800)).strftime("%Y-%m-%dT%H:%M:%SZ")
    recording = tmp_path / "mesh.yaml"
    code, _ = told(mesh, "--record", str(recording))
    after, lines = told(mesh, "-f", str(recording), "--stored", "--at", later)
    assert (code, after, lines[-1].startswith("critical: what signs: expired ")) == (0, 2, True)


def test_the_last_line_counts_each_under_what_is_true_of_it() -> None:
    late = Leaf(issued=timedelta(hours=-20), ends=timedelta(hours=4))
    gone = Leaf(issued=timedelta(hours=-25), ends=timedelta(hours=-1))
    mesh = istiod(
        ca=Authority(root=RENEWED),
        namespaces=(Namespace("bank", publishes=()), Namespace("shop")),
        proxies=(
            Proxy("young", "shop", holds=(ROOT,)),
            Proxy("late", "shop", holds=(ROOT,), leaf=late),
            Proxy("gone", "shop", holds=(ROOT,), leaf=gone),
            Proxy("mute", "shop", answers="refuses"),
        ),
    )
    counted = "1 is overdue, 1 has not moved yet, 1 is missing, 1 with other problems, 1 unknown; the last moves by "
    assert counted in told(mesh)[1][-1]


def test_lists_that_are_refused_are_numbered_in_the_last_line() -> None:
    assert " 3 not seen (Pod), as of " in told(CASES["no-proxies"].mesh, "-n", "bank", forbidden="pods")[1][-1]


def test_a_trust_bundle_that_is_missing_is_one_thing_and_no_configmap() -> None:
    code, lines = told(CASES["trust-bundle-missing"].mesh, "--stored")
    missing = [line for line in lines if line.endswith(": it is missing")]
    assert (code, missing) == (1, ["  ClusterTrustBundle istio.io:istiod-ca:root-cert: it is missing"])


def test_the_webhooks_of_citadels_era_are_patched_by_those_that_they_call() -> None:
    code, lines = told(citadel(control_planes=(ControlPlane(ca_bundle=(STRANGE,)),)), "--stored")
    (hint,) = (line for line in lines if "patches it" in line)
    assert (code, hint.endswith("kubectl rollout restart deploy/istio-sidecar-injector -n istio-system")) == (2, True)
    assert not any("istiod" in line for line in lines)


def test_the_order_of_a_bundle_folds_nothing_apart() -> None:
    bundles = ((STRANGE, CORPORATE), (CORPORATE, STRANGE), (STRANGE, CORPORATE, STRANGE))
    holders = tuple(Proxy(f"web-{number}", "shop", holds=held) for number, held in enumerate(bundles))
    code, lines = told(istiod(ca=replace(PLUGGED, more_roots=(STRANGE,)), proxies=holders), "--live")
    assert (code, sum(line.startswith("live     3 sidecars ") for line in lines)) == (0, 1)


@pytest.mark.parametrize("stale_first", [True, False])
def test_of_two_bundles_of_one_name_each_must_hold_the_root(tmp_path: Path, *, stale_first: bool) -> None:
    mesh = istiod(proxies=(Proxy("web", "shop"), Proxy("old", "shop", holds=(STRANGE,))))
    path = dump(mesh, tmp_path / "mesh.json")
    listed = json.loads(path.read_text())
    web, old = (
        one for one in listed["items"] if one["kind"] == "ProxyAnswers" and one["metadata"]["namespace"] == "shop"
    )
    secrets, stale = (
        next(held["dynamic_active_secrets"] for held in one["answers"]["config_dump"]["configs"] if len(held) > 1)
        for one in (web, old)
    )
    secrets.insert(0 if stale_first else len(secrets), next(one for one in stale if one["name"] == "ROOTCA"))
    path.write_text(json.dumps(listed))
    found = verified(Recording.read([str(path)], io.BytesIO()))
    critical = {row["place"].partition("-")[0] for row in found.rows if row["level"] == "critical"}
    assert critical == {"Pod shop/web", "Pod shop/old"}


def test_proxies_of_another_signer_are_a_group_that_names_it() -> None:
    live = [line for line in told(CASES["spire"].mesh)[1] if line.startswith("live ")]
    assert sum("(signed for by SPIRE (csi.spiffe.io))" in line for line in live) == 1 < len(live)


def test_a_secret_that_citadel_leaves_is_overdue_since_its_time_and_to_be_deleted() -> None:
    older = replace(CITADEL_ROOT, starts=timedelta(days=-366), ends=timedelta(days=3000))
    accounts = (Account("left", holds=(older,)), Account("odd", holds=(STRANGE,)))
    code, lines = told(citadel(namespaces=(Namespace("bank", accounts=accounts),)), "--stored")
    (said,) = (line for line in lines if line.startswith("  Secret bank/istio.left: "))
    assert (code, ", overdue for 9 days" in said) == (2, True)
    assert {f"kubectl delete secret istio.{name} -n bank" for name in ("left", "odd")} <= set(lines)
    assert "1 does not trust the signing root, 1 is overdue" in lines[-1]


def rows_of_two(mesh: Mesh, *arguments: str) -> tuple[int, dict[str, str]]:
    """Exit code, and by place the level of each Secret that is judged, of a cluster with two Citadels."""
    with serve(mesh) as server:
        done = typed(server, "--stored", "-o", "json", *arguments, module="istio_certverify")
    rows = json.loads(done.stdout)["rows"]
    return done.returncode, {row["place"]: row["level"] for row in rows if row["place"].startswith("Secret ")}


@pytest.mark.parametrize(
    "arguments", [(), ("-i", "istio-system"), ("-i", "istio-two"), ("-n", "bank"), ("-n", "factory")]
)
def test_of_two_citadels_each_secret_is_held_against_its_own(arguments: tuple[str, ...]) -> None:
    code, rows = rows_of_two(two_citadels(), *arguments)
    first = {"istio-system", "bank", "shop"} if "istio-two" not in arguments else set()
    second = {"istio-two", "factory"} if "istio-system" not in arguments else set()
    asked = {arguments[1]} if "-n" in arguments else first | second
    judged = {place.removeprefix("Secret ").partition("/")[0] for place in rows}
    assert (code, set(rows.values()), judged) == (0, {"ok"}, asked)


@pytest.mark.parametrize(("arguments", "code"), [((), 2), (("-i", "istio-two"), 2), (("-i", "istio-system"), 0)])
def test_a_secret_with_the_root_of_the_other_citadel_is_a_mismatch_of_its_own_alone(
    arguments: tuple[str, ...], code: int
) -> None:
    found, rows = rows_of_two(CASES["citadel-secret-of-the-other-citadel"].mesh, *arguments)
    wrong = [place for place, level in rows.items() if level != "ok"]
    assert (found, wrong) == (code, ["Secret factory/istio.default"] if code else [])


@pytest.mark.parametrize(("arguments", "code"), [((), 1), (("-i", "istio-two"), 1), (("-i", "istio-system"), 0)])
def test_a_secret_that_is_missing_is_missing_of_its_own_citadel_alone(arguments: tuple[str, ...], code: int) -> None:
    mesh = two_citadels()
    bare = tuple(
        replace(two, edits=(Edit(kind="Secret", namespace="factory", name="istio.robot"),)) for two in mesh.others
    )
    found, rows = rows_of_two(replace(mesh, others=bare), *arguments)
    wrong = [place for place, level in rows.items() if level != "ok"]
    assert (found, wrong) == (code, ["Secret factory/istio.robot"] if code else [])


@pytest.mark.parametrize(("arguments", "judged"), [(("-i", "istio-two"), {"istio-two", "factory"}), ((), {"all"})])
def test_where_both_citadels_serve_a_namespace_its_secrets_are_told_by_their_root(
    arguments: tuple[str, ...], judged: set[str]
) -> None:
    mesh = two_citadels(Namespace("factory"))
    plain = {"namespaces": (Namespace("bank"), Namespace("shop")), "control_planes": (ControlPlane(),)}
    others = tuple(replace(two, control_planes=(ControlPlane(),)) for two in mesh.others)
    code, rows = rows_of_two(replace(mesh, **plain, others=others), *arguments)
    places = {place.removeprefix("Secret ").partition("/")[0] for place in rows}
    everywhere = {"istio-system", "bank", "shop", "istio-two", "factory"}
    assert (code, set(rows.values()), places) == (0, {"ok"}, everywhere if judged == {"all"} else judged)


def test_a_secret_is_overdue_by_the_time_of_its_own_citadel() -> None:
    older, root = (
        replace(CITADEL_ROOT, key="two", starts=timedelta(days=day), ends=timedelta(3000)) for day in (-366, -365)
    )
    late = Namespace("factory", labels=FOR_TWO, accounts=(Account("default", holds=(older,)),))
    mesh = two_citadels(late, root=root)
    begun = tuple(replace(plane, started=timedelta(seconds=-1)) for plane in mesh.control_planes)
    with serve(replace(mesh, control_planes=begun)) as server:
        done = typed(server, "--stored", module="istio_certverify")
    (said,) = (line for line in done.stdout.splitlines() if line.startswith("  Secret "))
    assert (done.returncode, said.startswith("  Secret factory/istio.default: ")) == (1, True)
    assert ", overdue for 9 days" in said


def test_what_lies_in_the_namespaces_of_a_citadel_beside_is_not_left_of_one() -> None:
    beside = two_citadels().others
    with serve(istiod(others=beside)) as server:
        done = typed(server, "--stored", "-i", "istio-system", module="istio_certverify")
    with serve(istiod(others=tuple(replace(two, control_planes=()) for two in beside))) as server:
        left = typed(server, "--stored", "-i", "istio-system", module="istio_certverify")
    assert ("legacy, ignored" in done.stdout, "legacy, ignored" in left.stdout) == (False, True)

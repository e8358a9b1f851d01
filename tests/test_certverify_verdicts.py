"""Every mesh of `verified_meshes` gets its verdict, from an API server and from a recording alike."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from meshes import CITADEL_ROOT, RENEWED, ROOT, STRANGE, citadel, istiod
from sandbox import Account, Authority, ControlPlane, Leaf, Namespace, Proxy
from sandbox.server import serve
from transitions import typed
from verified_meshes import CASES
from verifying import levels, live, recorded

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

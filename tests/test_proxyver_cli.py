"""`istio-proxyver` as a person or a script uses it: what is printed where, and the exit code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from meshes import istiod
from proxy_meshes import CASES, SILENT, dump
from sandbox import Edit, Proxy
from sandbox.server import serve

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from sandbox import Mesh

    Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run `istio-proxyver` as a process of its own, in a place where no kubeconfig is found by chance."""

    def go(*arguments: str, environment: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "istio_proxyver", *arguments],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            cwd=tmp_path,
            env={"HOME": str(tmp_path), "PATH": os.environ["PATH"], "PYTHONWARNINGS": "error", **(environment or {})},
        )

    return go


def of(mesh: Mesh, folder: Path) -> tuple[str, str]:
    return "-f", str(dump(mesh, folder / "mesh.json"))


@pytest.mark.parametrize(
    ("name", "code"), [("all-of-istiod", 0), ("newer-minor", 1), ("one-1.1.5", 2), ("told-by-nobody", 3)]
)
@pytest.mark.parametrize("output", ["table", "wide", "json", "yaml", "name"])
def test_the_exit_code_is_the_same_for_every_output(
    run: Run, tmp_path: Path, name: str, code: int, output: str
) -> None:
    done = run(*of(CASES[name].mesh, tmp_path), "-o", output)
    assert (done.returncode, done.stderr) == (code, "")


def test_one_sidecar_that_will_miss_a_new_root_is_named_with_its_restart_command(run: Run) -> None:
    with serve(CASES["one-1.1.5"].mesh) as server:
        done = run(environment=server.environment)
    assert done.returncode == 2
    assert done.stdout.count("Pod bank/ledger-") == 1
    assert "1.1.5 does not see a new root: it keeps the old one until it is restarted" in done.stdout
    assert "\nkubectl rollout restart deploy/ledger -n bank\n" in done.stdout
    rows = [line.split() for line in done.stdout.splitlines() if line.startswith("bank ")]
    assert [(row[2], row[3], row[4], row[5]) for row in rows] == [("sidecar", "1.1.5", "Deployment/ledger", "critical")]
    (pilot,) = [pod for (_, pod), proxy in CASES["one-1.1.5"].mesh.pods().items() if proxy.kind == "pilot"]
    assert f"istio-system: Pilot {pilot} has a proxy (2/2), controlPlaneSecurity is off" in done.stdout


def test_a_healthy_mesh_is_a_line_for_each_version_and_kind(run: Run, tmp_path: Path) -> None:
    done = run(*of(CASES["all-of-istiod"].mesh, tmp_path))
    head, *_ = done.stdout.split("\n\n")
    assert [line.split() for line in head.splitlines()] == [
        ["VERSION", "KIND", "NUMBER", "STATUS"],
        ["1.29.2", "agentgateway", "1", "ok"],
        ["1.29.2", "control-plane", "1", "ok"],
        ["1.29.2", "gateway", "1", "ok"],
        ["1.29.2", "proxyless", "1", "ok"],
        ["1.29.2", "sidecar", "5", "ok"],
        ["1.29.2", "waypoint", "1", "ok"],
        ["1.29.2", "ztunnel", "1", "ok"],
    ]
    assert "ok: 11 proxies checked" in done.stdout
    assert "ledger" not in done.stdout


@pytest.mark.parametrize(
    ("by", "titles", "first"),
    [
        ("version", ["VERSION"], ["1.28.4"]),
        ("namespace", ["NAMESPACE", "VERSION"], ["istio-system", "1.29.2"]),
        ("owner", ["NAMESPACE", "OWNER", "VERSION"], ["istio-system", "Deployment/istiod", "1.29.2"]),
    ],
)
def test_the_summary_counts_by_what_was_asked(
    run: Run, tmp_path: Path, by: str, titles: list[str], first: list[str]
) -> None:
    done = run(*of(CASES["rollout-stuck-halfway"].mesh, tmp_path), "--by", by)
    head = [line.split() for line in done.stdout.split("\n\n")[0].splitlines()]
    assert head[0] == [*titles, "KIND", "NUMBER", "STATUS"]
    assert [*first] in [line[: len(first)] for line in head[1:]]
    assert sum(int(line[-2]) for line in head[1:]) == 4


def test_a_rollout_that_is_stuck_halfway_names_the_workload_and_the_old_pod(run: Run, tmp_path: Path) -> None:
    done = run(*of(CASES["rollout-stuck-halfway"].mesh, tmp_path), "-o", "json")
    told = json.loads(done.stdout)
    (finding,) = told["findings"]
    assert [(one["place"], one["detail"]) for one in finding["problems"]] == [
        ("Deployment shop/web", "1.29.2 in 2 pods, 1.28.4 in 1 pod")
    ]
    assert sorted((row["version"], row["level"]) for row in told["rows"] if row["owner"] == "Deployment/web") == [
        ("1.28.4", "warning"),
        ("1.29.2", "ok"),
        ("1.29.2", "ok"),
    ]


def test_wide_shows_every_pod_with_the_end_of_its_life(run: Run, tmp_path: Path) -> None:
    done = run(*of(CASES["told-by-istiod"].mesh, tmp_path), "-o", "wide", "--at", "2026-11-24T08:00:00Z")
    line = next(line for line in done.stdout.splitlines() if line.startswith("bank"))
    assert "1.28.3" in line
    assert f"{SILENT}   istiod" in line
    assert "2026-07-01 (ended)" in line


@pytest.mark.parametrize(
    ("least", "code", "words"),
    [
        ("1.28", 0, ""),
        ("1.29", 1, "1.28.4 is older than 1.29"),
        ("1.29.2", 1, "1.28.4 is older than 1.29.2"),
        ("1.30", 1, "1.29.2 is older than 1.30"),
    ],
)
def test_what_is_older_than_asked_is_a_warning(run: Run, tmp_path: Path, least: str, code: int, words: str) -> None:
    mesh = istiod(proxies=(Proxy("web", "shop", version="1.28.4"), Proxy("ledger", "bank")))
    done = run(*of(mesh, tmp_path), "--outdated-than", least)
    assert (done.returncode, words in done.stdout) == (code, True)


def test_a_restart_is_advised_only_where_it_helps(run: Run, tmp_path: Path) -> None:
    mesh = istiod(proxies=(Proxy("web", "shop", version="1.28.4"),))
    assert "rollout restart deploy/web" in run(*of(mesh, tmp_path), "--outdated-than", "1.29").stdout
    done = run(*of(mesh, tmp_path), "--outdated-than", "1.30")
    assert "rollout restart" not in done.stdout
    assert "upgrade its control plane first" in done.stdout


def test_a_user_can_bring_a_newer_support_table(run: Run, tmp_path: Path) -> None:
    table = tmp_path / "istio.json"
    table.write_text('[{"cycle": "1.29", "eol": "2030-01-02"}, {"cycle": "1.28", "eol": false}]')
    mesh = istiod(proxies=(Proxy("web", "shop", version="1.28.4"), Proxy("ledger", "bank")))
    done = run(*of(mesh, tmp_path), "--support-table", str(table), "-o", "json")
    ends = {row["version"]: (row["end_of_life"], row["ended"]) for row in json.loads(done.stdout)["rows"]}
    assert ends == {"1.28.4": (None, None), "1.29.2": ("2030-01-02", False)}


@pytest.mark.parametrize(
    "text",
    ["", "{}", "[1]", '[{"cycle": "latest", "eol": "2030-01-02"}]', '[{"cycle": "1.2", "eol": "soon"}]', '["1.29"]'],
)
def test_a_support_table_that_is_none_is_refused_in_words(run: Run, tmp_path: Path, text: str) -> None:
    table = tmp_path / "istio.json"
    table.write_text(text)
    done = run(*of(CASES["all-of-istiod"].mesh, tmp_path), "--support-table", str(table))
    assert (done.returncode, done.stdout) == (64, "")
    assert done.stderr.startswith(f"error: --support-table {table}: it is no list of release cycles - expected")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--outdated-than", "new"), "--outdated-than 'new' is no release of Istio - write 1.29 or 1.29.2"),
        (("--by", "colour"), "'colour' is not one of 'version', 'namespace', 'owner'"),
        (("-l", "app in web"), "'app in web' is no label selector"),
        (("--support-table", "nowhere.json"), "--support-table nowhere.json: No such file or directory"),
        (("--frobnicate",), "No such option: --frobnicate"),
        (("everything",), "Got unexpected extra argument(s) (everything)"),
    ],
)
def test_a_wrong_command_line_is_refused_in_words(
    run: Run, tmp_path: Path, arguments: tuple[str, ...], words: str
) -> None:
    done = run(*of(CASES["all-of-istiod"].mesh, tmp_path), *arguments)
    assert (done.returncode, done.stdout) == (64, "")
    assert words in done.stderr
    assert done.stderr.count("\n") == 1


def rows(run: Run, *arguments: str, environment: Mapping[str, str] | None = None) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(run(*arguments, "-o", "json", environment=environment).stdout)["rows"]
    return found


def owners(found: list[dict[str, Any]]) -> set[str]:
    return {row["owner"] for row in found}


def test_labels_and_namespaces_narrow_what_is_judged_live_and_recorded(run: Run, tmp_path: Path) -> None:
    mesh = CASES["two-minors-older"].mesh
    recording = of(mesh, tmp_path)
    with serve(mesh) as server:
        for arguments, found in (
            (("-l", "app in (app-1-27-9,other)"), {"Deployment/app-1-27-9"}),
            (("-l", "app!=istiod"), {"Deployment/app-1-27-9"}),
            (("-n", "bank"), {"Deployment/app-1-27-9"}),
            (("-n", "istio-system"), {"Deployment/istiod"}),
        ):
            told = run(*arguments, "-o", "json", environment=server.environment)
            kept = run(*recording, *arguments, "-o", "json")
            assert owners(json.loads(told.stdout)["rows"]) == found
            assert json.loads(told.stdout)["rows"] == json.loads(kept.stdout)["rows"]
            assert told.returncode == kept.returncode == (0 if found == {"Deployment/istiod"} else 1)


def test_a_revision_narrows_to_its_proxies(run: Run, tmp_path: Path) -> None:
    recording = of(CASES["each-beside-its-own-revision"].mesh, tmp_path)
    assert owners(rows(run, *recording, "-r", "canary")) == {"Deployment/istiod-canary", "Deployment/web"}
    assert owners(rows(run, *recording, "-r", "default")) == {"Deployment/istiod", "Deployment/ledger"}
    done = run(*recording, "-r", "gone")
    assert (done.returncode, done.stderr) == (
        3,
        "error: no control plane of revision gone is there - there is canary, default\n",
    )


def test_one_of_two_meshes_can_be_asked_for(run: Run, tmp_path: Path) -> None:
    recording = of(CASES["two-meshes"].mesh, tmp_path)
    assert {row["namespace"] for row in rows(run, *recording, "-i", "istio-two")} == {"istio-two", "factory"}


@pytest.mark.parametrize("arguments", [(), ("-n", "nowhere"), ("-l", "app=nothing")])
def test_no_proxy_at_all_is_unknown_and_says_where_it_looked(
    run: Run, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    mesh = istiod(era="none") if not arguments else CASES["all-of-istiod"].mesh
    done = run(*of(mesh, tmp_path), *arguments)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith("error: no proxy found: looked at the pods of ")


def test_pods_that_may_not_be_listed_in_one_namespace_are_unknown_and_named(run: Run) -> None:
    with serve(CASES["all-of-istiod"].mesh) as server:
        server.forbid("list", "pods", namespace="")
        server.forbid("list", "pods", namespace="bank")
        done = run(environment=server.environment)
    assert done.returncode == 3
    assert "\n  Pod bank/*: not seen: " in done.stdout
    assert 'cannot list pods in namespace "bank"' in done.stdout
    assert "unknown: 9 proxies checked, 1 not seen" in done.stdout


def test_proxies_that_may_not_be_asked_are_unknown_with_the_reason(run: Run) -> None:
    with serve(CASES["told-by-the-proxy"].mesh) as server:
        for verb in ("get", "create"):
            server.forbid(verb, "pods/portforward")
            server.forbid(verb, "pods/exec")
        done = run("-o", "json", environment=server.environment)
    told = json.loads(done.stdout)
    assert (done.returncode, told["status"]) == (3, "unknown")
    (why,) = {gap["why"] for finding in told["findings"] for gap in finding["unseen"]}
    assert f"its image {SILENT[:80]}... does not tell the version" in why
    assert why.count("pods/portforward") == 2


def test_bad_pods_are_told_apart_from_good_ones(run: Run, tmp_path: Path) -> None:
    def pod(name: str, image: str, **more: Any) -> Edit:
        body: dict[str, Any] = {
            "metadata": {"labels": {"app": name}},
            "spec": {"containers": [{"name": "istio-proxy", "image": image}]},
        }
        return Edit(kind="Pod", namespace="odd", name=name, patch=body | more)

    status = {"sidecar.istio.io/status": "{this is no JSON"}
    mesh = istiod(
        edits=(
            pod("digest", "host:5000/a/b@sha256:" + "0" * 64),
            pod("empty", ""),
            pod("long", "docker.io/istio/proxyv2:" + "1" * 300),
            pod("good", "docker.io/istio/proxyv2:1.29.2", metadata={"labels": {"app": "x"}, "annotations": status}),
        )
    )
    done = run(*of(mesh, tmp_path), "-o", "json")
    found = {row["pod"]: (row["version"], row["level"], row["idle"]) for row in json.loads(done.stdout)["rows"]}
    idle = "its status is not known"
    assert {pod: found[pod] for pod in ("digest", "empty", "long", "good")} == {
        "digest": (None, "unknown", idle),
        "empty": (None, "unknown", idle),
        "long": (None, "unknown", idle),
        "good": ("1.29.2", "ok", idle),
    }
    assert done.returncode == 3
    whys = " ".join(gap["why"] for finding in json.loads(done.stdout)["findings"] for gap in finding["unseen"])
    assert "it names no image" in whys
    assert "1" * 81 not in whys


KEYS = [
    "namespace",
    "pod",
    "kind",
    "version",
    "image",
    "owner",
    "source",
    "level",
    "container",
    "native",
    "revision",
    "node",
    "idle",
    "end_of_life",
    "ended",
    "to_do",
    "restart",
]


def test_the_rows_have_the_keys_that_were_promised(run: Run, tmp_path: Path) -> None:
    recording = of(CASES["one-1.1.5"].mesh, tmp_path)
    told = json.loads(run(*recording, "-o", "json").stdout)
    assert told == yaml.safe_load(run(*recording, "-o", "yaml").stdout) | {"read_at": told["read_at"]}
    assert [(told[key]) for key in ("version", "tool", "command", "status")] == [
        1,
        "istio-proxyver",
        "versions",
        "critical",
    ]
    assert [list(row) for row in told["rows"]] == [KEYS] * len(told["rows"])
    (bad,) = [row for row in told["rows"] if row["level"] != "ok"]
    assert bad | {"pod": "", "end_of_life": "", "ended": None} == {
        "namespace": "bank",
        "pod": "",
        "kind": "sidecar",
        "version": "1.1.5",
        "image": "docker.io/istio/proxyv2:1.1.5",
        "owner": "Deployment/ledger",
        "source": "image tag",
        "level": "critical",
        "container": "istio-proxy",
        "native": False,
        "revision": None,
        "node": "node1",
        "idle": None,
        "end_of_life": "",
        "ended": None,
        "to_do": "upgrade it, or restart it after the root has changed",
        "restart": "kubectl rollout restart deploy/ledger -n bank",
    }


def test_names_are_ready_for_a_loop(run: Run, tmp_path: Path) -> None:
    done = run(*of(CASES["rollout-stuck-halfway"].mesh, tmp_path), "-o", "name")
    assert done.stdout == "deployment/web -n shop\n"


def test_only_the_pods_are_asked_for_where_the_images_tell(run: Run) -> None:
    with serve(CASES["all-of-istiod"].mesh) as server:
        run(environment=server.environment)
        assert [request.path for request in server.requests] == ["/api/v1/pods"]


def test_only_silent_proxies_are_asked(run: Run) -> None:
    mesh = istiod(
        proxies=(Proxy("ledger", "bank"), Proxy("web", "shop", image=SILENT, version="1.29.1", connected=False))
    )
    with serve(mesh) as server:
        assert run(environment=server.environment).returncode == 0
        asked = [request.path for request in server.requests if request.path.endswith("portforward")]
    assert len(asked) == 2  # istiod, then the one that it does not know
    assert "/istio-system/pods/istiod-" in asked[0]
    assert "/shop/pods/web-" in asked[1]


def test_help_says_what_there_is(run: Run) -> None:
    done = run("--help")
    assert done.returncode == 0
    for option in ("--outdated-than", "--by", "--support-table", "--selector", "--namespace", "--filename"):
        assert option in done.stdout
    assert run("--version").stdout.startswith("istio-proxyver ")

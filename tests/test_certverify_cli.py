"""The command line of istio-certverify: what is printed where, the exit codes, --record, Ctrl-C."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from base64 import b64encode
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import yaml

from meshes import CASES as CAS
from meshes import NOW, STRANGE, citadel, istiod
from sandbox import Account, Authority, ControlPlane, Edit, Identity, Namespace, Proxy
from sandbox.issuing import key_pem
from sandbox.server import serve
from verified_meshes import CASES, dump, edited, proxies, selecting

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from sandbox import Mesh

FORMATS = ("table", "wide", "json", "yaml", "name")


class Shell:
    """Runs `istio-certverify` as a process of its own, in a place where no kubeconfig is found by chance."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {"HOME": str(folder), "PATH": os.environ["PATH"], "PYTHONWARNINGS": "error"}

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "istio_certverify", *arguments]

    def __call__(
        self, *arguments: str, environment: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*arguments),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            cwd=self.folder,
            env={**self.environment, **(environment or {})},
        )

    def mesh(self, name: str) -> str:
        return str(dump(CASES[name].mesh, self.folder / f"{name}.json"))


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


@pytest.mark.parametrize(("name", "code"), [("healthy", 0), ("unmoved-proxy", 1), ("lost-identity", 2), ("refused", 3)])
@pytest.mark.parametrize("output", FORMATS)
def test_the_exit_code_is_the_same_for_every_output(shell: Shell, name: str, code: int, output: str) -> None:
    done = shell("-f", shell.mesh(name), "-o", output)
    assert (done.returncode, done.stderr) == (code, "")


def test_the_envelope_keeps_its_keys(shell: Shell) -> None:
    envelope = json.loads(shell("-f", shell.mesh("unmoved-proxy"), "-o", "json").stdout)
    assert (envelope["version"], envelope["tool"], envelope["command"]) == (1, "istio-certverify", "verify")
    assert {key: type(value).__name__ for key, value in envelope["rows"][0].items()} == {
        "kind": "str",
        "place": "str",
        "trusts": "list",
        "signed": "bool",
        "not_after": "str",
        "moves_by": "str",
        "level": "str",
        "detail": "str",
        "holder": "str",
        "identity": "str",
        "owner": "str",
        "checks": "list",
    }


def test_yaml_says_what_json_says(shell: Shell) -> None:
    path, at = shell.mesh("unmoved-proxy"), ("--at", NOW.isoformat())
    as_json, as_yaml = (shell("-f", path, *at, "-o", form).stdout for form in ("json", "yaml"))
    assert yaml.safe_load(as_yaml) == json.loads(as_json)


def test_what_agrees_is_a_line_and_what_does_not_is_a_row(shell: Shell) -> None:
    lines = shell("-f", shell.mesh("unmoved-proxy")).stdout.splitlines()
    assert lines[1].startswith("live     Pod shop/old-")
    assert any(line.startswith("live     4 sidecars ") for line in lines)
    assert lines[-1].startswith("warning: checked 15 of 15, 1 has not moved yet; the last moves by ")
    assert "kubectl rollout restart deploy/old -n shop" in lines


def test_wide_has_a_row_for_everything(shell: Shell) -> None:
    text = shell("-f", shell.mesh("unmoved-proxy"), "-o", "wide").stdout
    assert sum(line.startswith(("live ", "stored ")) for line in text.splitlines()) == 15


def test_name_prints_each_object_with_a_problem_ready_for_a_loop(shell: Shell) -> None:
    done = shell("-f", shell.mesh("stale-copy"), "-o", "name")
    assert done.stdout == "configmap/istio-ca-root-cert -n bank\n"


def test_name_prints_what_was_not_seen_too(shell: Shell) -> None:
    done = shell("-f", shell.mesh("refused"), "-o", "name")
    assert done.returncode == 3
    assert [line.partition("-")[0] for line in done.stdout.splitlines()] == ["pod/mute"]


def test_a_kind_that_was_not_seen_is_named_without_a_gap(shell: Shell) -> None:
    with serve(CASES["healthy"].mesh) as server:
        server.access.forbid("list", "mutatingwebhookconfigurations")
        done = shell("--stored", environment=server.environment)
    assert "  MutatingWebhookConfiguration *: not seen: " in done.stdout


OWNERS = {
    "Rollout": (
        {"kind": "ReplicaSet", "name": "old-abc"},
        {"rollouts-pod-template-hash": "abc", "pod-template-hash": None},
        (
            "kubectl patch rollouts.argoproj.io/old -n shop --type merge"
            """ -p '{"spec":{"restartAt":"'$(date -u +%Y-%m-%dT%H:%M:%SZ)'"}}'"""
        ),
    ),
    "DeploymentConfig": (
        {"kind": "ReplicationController", "name": "old-1"},
        {"deploymentconfig": "old"},
        "oc rollout latest dc/old -n shop",
    ),
    "ReplicaSet": (
        {"kind": "ReplicaSet", "name": "old"},
        {"pod-template-hash": None},
        "kubectl delete pod POD -n shop",
    ),
    "Job": (
        {"kind": "Job", "name": "old"},
        {},
        "# Job shop/old: nothing restarts it, it has to be made anew",
    ),
    "hostile": (
        {"kind": "StatefulSet", "name": "old; reboot"},
        {},
        "kubectl rollout restart sts/'old; reboot' -n shop",
    ),
}


@pytest.mark.parametrize("name", OWNERS)
def test_what_mends_can_be_pasted_whatever_made_the_pod(shell: Shell, name: str) -> None:
    owner, labels, command = OWNERS[name]
    mesh = CASES["unmoved-proxy"].mesh
    pod = next(pod for (_, pod), proxy in mesh.pods().items() if proxy.name == "old")
    references = [{"apiVersion": "v1", "uid": "1", "controller": True, **owner}]
    patch = {"metadata": {"ownerReferences": references, "labels": labels}}
    edit = Edit(kind="Pod", namespace="shop", name=pod, patch=patch)
    with serve(replace(mesh, edits=(*mesh.edits, edit))) as server:
        done = shell("--live", environment=server.environment)
    assert command.replace("POD", pod) in done.stdout.splitlines()


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("", "  -> its writer puts a certificate there: "),
        ("-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----\n", "  -> take the key out; "),
        ("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n", "  -> openssl x509 -noout -text shows "),
    ],
)
def test_what_is_no_certificate_is_mended_by_what_it_is(shell: Shell, text: str, hint: str) -> None:
    edit = Edit(kind="ConfigMap", namespace="bank", name="istio-ca-root-cert", patch={"data": {"root-cert.pem": text}})
    with serve(istiod(namespaces=(Namespace("bank"),), edits=(edit,))) as server:
        lines = shell("--stored", environment=server.environment).stdout.splitlines()
    hints = [line for line in lines if line.startswith("  -> ")]
    assert [one.startswith(hint) for one in hints] == [True]


@pytest.mark.parametrize(
    ("arguments", "pods"),
    [
        (("deploy/ledger",), {"ledger"}),
        (("deploy/ledger.bank", "ds/ztunnel"), {"ledger", "ztunnel"}),
        (("-n", "bank"), {"ledger", "vault", "ztunnel"}),
        (("-l", "app=web"), {"web"}),
        (("-l", "app in (web,vault)", "-n", "shop"), {"web"}),
    ],
)
def test_arguments_narrow_the_proxies(shell: Shell, arguments: tuple[str, ...], pods: set[str]) -> None:
    envelope = json.loads(shell("-f", shell.mesh("healthy"), "-o", "json", *arguments).stdout)
    live = [row["place"].split("/")[1].split("-")[0] for row in envelope["rows"] if row["kind"] == "live"]
    assert set(live) == pods


def test_a_pod_is_named_as_istioctl_names_it(shell: Shell) -> None:
    mesh = CASES["healthy"].mesh
    namespace, name = next(place for place, proxy in mesh.pods().items() if proxy.name == "ledger")
    done = shell("-f", shell.mesh("healthy"), f"{name}.{namespace}", "-o", "json")
    assert [row["place"] for row in json.loads(done.stdout)["rows"]] == [f"Pod {namespace}/{name}"]


def test_a_name_that_nothing_bears_is_an_error_in_words(shell: Shell) -> None:
    done = shell("-f", shell.mesh("healthy"), "deploy/nobody")
    assert (done.returncode, done.stderr.startswith("error: no proxy is there for deploy/nobody")) == (3, True)


@pytest.mark.parametrize(
    ("arguments", "place"),
    [
        (("deploy/ledger", "deploy/ledgre"), "Deployment ledgre"),
        (("deploy/ledger", "nobody.shop"), "Pod shop/nobody"),
        (("deploy/ledger", "deploy/web.shop", "-n", "bank"), "Deployment shop/web"),
        (("--stored", "deploy/ledgre"), "Deployment ledgre"),
        (("-l", "app=typo"), "Pod *"),
        (("--stored", "-l", "app=typo"), "Pod *"),
        (("--live", "-n", "typo"), "Pod typo/*"),
    ],
)
def test_what_was_asked_for_and_is_not_there_is_unknown_by_its_name(
    shell: Shell, arguments: tuple[str, ...], place: str
) -> None:
    with serve(CASES["healthy"].mesh) as server:
        done = shell(*arguments, "-o", "json", environment=server.environment)
    rows = json.loads(done.stdout)["rows"]
    assert (done.returncode, [row["place"] for row in rows if row["level"] == "unknown"]) == (3, [place])
    assert all(row["level"] == "ok" for row in rows if row["place"] != place)
    assert len(rows) > 1 or "deploy/ledger" not in arguments


def test_with_stored_an_argument_has_both_halves_judged(shell: Shell) -> None:
    with serve(CASES["unmoved-proxy"].mesh) as server:
        done = shell("--stored", "deploy/old", "-o", "json", environment=server.environment)
    levels = {(row["kind"], row["level"]) for row in json.loads(done.stdout)["rows"]}
    assert (done.returncode, levels) == (1, {("stored", "ok"), ("live", "warning")})


def test_a_namespace_without_a_proxy_is_fine_and_that_is_said(shell: Shell) -> None:
    with serve(proxies(namespaces=(Namespace("calm"),))) as server:
        done = shell("-n", "calm", environment=server.environment)
    assert (done.returncode, "no proxy was found in namespace calm" in done.stdout.splitlines()) == (0, True)


def test_a_namespace_is_judged_with_its_identities_in_every_ztunnel(shell: Shell) -> None:
    lost = Identity("cart", "shop", state="Unavailable: signing gRPC error")
    ztunnels = Proxy("ztunnel", "istio-system", "ztunnel", identities=(lost, Identity("audit", "bank")))
    with serve(istiod(namespaces=(Namespace("shop"), Namespace("bank")), proxies=(ztunnels,))) as server:
        shop, bank = (
            shell("-n", place, "--live", "-o", "json", environment=server.environment) for place in ("shop", "bank")
        )
    assert (shop.returncode, bank.returncode) == (2, 0)
    held = [[row["identity"] for row in json.loads(done.stdout)["rows"]] for done in (shop, bank)]
    assert held == [["spiffe://cluster.local/ns/shop/sa/cart"], ["spiffe://cluster.local/ns/bank/sa/audit"]]


@pytest.mark.parametrize(("refused_at_home", "code"), [(False, 2), (True, 3)])
def test_where_ztunnels_may_not_be_listed_a_namespace_is_never_silently_fine(
    shell: Shell, code: int, *, refused_at_home: bool
) -> None:
    lost = Identity("cart", "shop", state="Unavailable: signing gRPC error")
    ztunnels = Proxy("ztunnel", "istio-system", "ztunnel", identities=(lost,))
    with serve(istiod(proxies=(ztunnels, Proxy("web", "shop")))) as server:
        server.access.forbid("list", "pods", namespace="")
        if refused_at_home:
            server.access.forbid("list", "pods", namespace="istio-system")
        done = shell("-n", "shop", environment=server.environment)
    assert (done.returncode, "ztunnels were looked for in istio-system only" in done.stdout) == (code, True)


TWO = CASES["healthy-two-meshes"].mesh
OWN_NAMESPACES = replace(
    TWO,
    namespaces=tuple(Namespace(name, {"mesh": "one"}) for name in ("bank", "shop")),
    others=tuple(replace(two, namespaces=(Namespace("factory", {"mesh": "two"}),)) for two in TWO.others),
    edits=(
        selecting({"matchLabels": {"mesh": "one"}}),
        selecting({"matchLabels": {"mesh": "two"}}, home="istio-two", name="istio-two"),
    ),
)


@pytest.mark.parametrize("mesh", [TWO, OWN_NAMESPACES], ids=["everywhere", "in-their-own-namespaces"])
def test_what_is_left_out_by_narrowing_is_neither_missing_nor_an_orphan(shell: Shell, mesh: Mesh) -> None:
    narrowed = ("-i istio-two", "-i istio-system", "-r two", "-r default", "-n factory", "-n shop", "-n istio-two")
    with serve(mesh) as server:
        told = {words: shell(*words.split(), "-o", "json", environment=server.environment) for words in narrowed}
    assert {words: json.loads(done.stdout)["findings"] for words, done in told.items()} == {one: [] for one in narrowed}


@pytest.mark.parametrize(("revision", "other"), [("default", "canary"), ("canary", "default")])
def test_webhooks_of_a_revision_with_another_ca_are_not_judged_with_this_one(
    shell: Shell, revision: str, other: str
) -> None:
    parted = CAS["cacerts-of-one-restarted-revision"].mesh
    planes = tuple(
        replace(one, ca_bundle=(STRANGE,)) if one.revision == other else one for one in parted.control_planes
    )
    with serve(replace(parted, control_planes=planes)) as server:
        done = shell("--stored", "-r", revision, "-o", "json", environment=server.environment)
    hooks = [row for row in json.loads(done.stdout)["rows"] if row["holder"] == "webhook"]
    assert [row["level"] for row in hooks] == ["ok"] * 3
    assert {"canary" in row["place"] for row in hooks} == {revision == "canary"}


@pytest.mark.parametrize(
    ("arguments", "place"),
    [
        (("-r", "two"), "ConfigMap factory/istio-ca-root-cert"),
        (("-i", "istio-two"), "ConfigMap factory/istio-ca-root-cert"),
        (("-n", "factory"), "ConfigMap factory/istio-ca-root-cert"),
        (("-r", "default"), "MutatingWebhookConfiguration istio-sidecar-injector-gone "),
    ],
)
def test_what_is_missing_or_an_orphan_is_told_however_it_is_narrowed(
    shell: Shell, arguments: tuple[str, ...], place: str
) -> None:
    gone = ControlPlane(revision="gone", replicas=0, ca_bundle=(STRANGE,))
    bare = tuple(replace(two, namespaces=(Namespace("factory", publishes=()),)) for two in TWO.others)
    with serve(replace(TWO, control_planes=(ControlPlane(), gone), others=bare)) as server:
        done = shell("--stored", *arguments, "-o", "json", environment=server.environment)
    wrong = [row["place"] for row in json.loads(done.stdout)["rows"] if row["level"] == "warning"]
    assert (done.returncode, any(one.startswith(place) for one in wrong)) == (1, True)


def test_a_cacerts_that_waits_is_told_before_it_takes_over(shell: Shell) -> None:
    with serve(CASES["cacerts-waits-with-another-root"].mesh) as server:
        done = shell(environment=server.environment)
    assert done.returncode == 2
    assert "  Secret istio-system/cacerts: takes over at the next start, with another root" in done.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ("svc/web",),
        ("--concurrency", "0"),
        ("--concurrency", "many"),
        ("--timeout", "soon"),
        ("-l", "a==" * 2),
        ("--wat",),
    ],
)
def test_a_wrong_command_line_is_64_in_one_line(shell: Shell, arguments: tuple[str, ...]) -> None:
    done = shell(*arguments)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (64, "", 1)


def test_waiting_on_a_recording_is_a_wrong_command_line(shell: Shell) -> None:
    assert shell("--wait", "-f", shell.mesh("healthy")).returncode == 64


def test_progress_is_for_a_terminal_only(shell: Shell) -> None:
    with serve(CASES["healthy"].mesh) as server:
        assert shell(environment=server.environment).stderr == ""


@pytest.mark.parametrize("name", ["healthy", "healthy-citadel", "lost-identity", "garbage", "left-of-citadel"])
def test_a_recording_gives_the_same_report(shell: Shell, name: str) -> None:
    with serve(CASES[name].mesh) as server:
        live = shell("--record", "mesh.yaml", "-o", "json", environment=server.environment)
    read = shell("-f", "mesh.yaml", "-o", "json")
    assert live.returncode == read.returncode
    seen, told = json.loads(live.stdout), json.loads(read.stdout)
    told["remarks"] = [line for line in told["remarks"] if not line.startswith("judged as of")]
    assert seen == told


def test_what_was_refused_is_refused_in_the_recording_as_well(shell: Shell) -> None:
    with serve(CASES["healthy"].mesh) as server:
        server.access.forbid("*", "pods/*", namespace="shop")
        server.access.forbid("list", "namespaces")
        server.access.forbid("*", "mutatingwebhookconfigurations")
        live = shell("--record", "mesh.yaml", "-o", "json", environment=server.environment)
    read = shell("-f", "mesh.yaml", "-o", "json")
    assert json.loads(live.stdout)["findings"] == json.loads(read.stdout)["findings"] != []


@pytest.mark.parametrize("era", ["istiod", "citadel"])
def test_no_private_key_is_in_any_output_or_recording(shell: Shell, era: str) -> None:
    mesh = (
        istiod(ca=Authority(applied=True), proxies=(Proxy("web", "shop"),))
        if era == "istiod"
        else CAS["healthy-citadel"].mesh
    )
    keys = [key_pem("root"), key_pem("leaf")]
    with serve(mesh) as server:
        shown = [
            done.stdout + done.stderr
            for form in FORMATS
            for done in [shell("-o", form, "-v", "--record", "mesh.yaml", environment=server.environment)]
        ]
    written = (shell.folder / "mesh.yaml").read_text()
    assert "istio-ca-secret" in written
    for text in (*shown, written):
        assert "PRIVATE" not in text
        assert not [key for key in keys if key.splitlines()[5] in text]
    for key in keys:
        for shift in range(3):
            assert b64encode(key[shift + 300 : shift + 600].encode()).decode()[4:-8] not in written


KEY = key_pem("root") + b64encode(key_pem("root").encode()).decode()  # where somebody has pasted it
_WEB = istiod(proxies=(Proxy("web", "shop"),))
_SIDECAR = {"name": "istio-proxy", "image": "docker.io/istio/proxyv2:1.29.2", "args": ["proxy", "sidecar"]}
_INJECTOR = {"clientConfig": {"service": {"name": "istiod", "namespace": "istio-system"}, "caBundle": "bm8="}}
PASTED: Mapping[str, Mesh] = {
    "the annotation of a Secret": citadel(
        proxies=(Proxy("ledger", "bank"),),
        edits=(
            Edit(
                kind="Secret",
                namespace="bank",
                name="istio.default",
                patch={"metadata": {"annotations": {"istio.io/service-account.name": KEY}}},
            ),
        ),
    ),
    "the state of a certificate": proxies(
        Proxy("node", "istio-system", "ztunnel", identities=(Identity("x", "shop", state=f"Unavailable: {KEY}"),))
    ),
    "an identity": proxies(Proxy("node", "istio-system", "ztunnel", identities=(Identity(f"x{KEY}", "shop"),))),
    "the address of a CA": edited(
        _WEB, "web", {"spec": {"containers": [{**_SIDECAR, "env": [{"name": "CA_ADDR", "value": KEY}]}]}}
    ),
    "the path of a volume": edited(
        _WEB, "web", {"spec": {"volumes": [{"name": "workload-socket", "hostPath": {"path": KEY}}]}}
    ),
    "why a container waits": edited(
        _WEB,
        "web",
        {
            "status": {
                "phase": KEY,
                "containerStatuses": [{"name": "istio-proxy", "state": {"waiting": {"reason": KEY}}}],
            }
        },
    ),
    "what istiod watches": istiod(
        control_planes=(ControlPlane(env={"ISTIO_WATCH_NAMESPACE": KEY}),),
        namespaces=(Namespace("shop", publishes=(STRANGE,)),),
    ),
    "the name of a webhook": proxies(
        edits=(
            Edit(
                kind="MutatingWebhookConfiguration",
                name="istio-sidecar-injector",
                patch={"webhooks": [{"name": f"{KEY}sidecar-injector.istio.io", **_INJECTOR}]},
            ),
        )
    ),
}


def pieces(key: str) -> list[str]:
    """What a private key can be known by, wherever it is broken into lines."""
    pem, _, encoded = key.rpartition("\n")
    return ["PRIVATE KEY", *pem.splitlines()[1:-1], *(encoded[at : at + 40] for at in range(0, len(encoded) - 40, 40))]


@pytest.mark.parametrize("place", PASTED)
def test_a_private_key_that_was_pasted_into_any_text_is_not_said(shell: Shell, place: str) -> None:
    with serve(PASTED[place]) as server:
        for form in ("wide", "json", "yaml"):
            done = shell("-o", form, "-v", environment=server.environment)
            assert "[cut: a private key]" in done.stdout, form
            assert not [piece for piece in pieces(KEY) if piece in done.stdout + done.stderr], form


def test_a_private_key_on_the_command_line_is_not_repeated(shell: Shell) -> None:
    done = shell("--concurrency", KEY)
    assert (done.returncode, done.stdout) == (64, "")
    assert "[cut: a private key]" in done.stderr
    assert not [piece for piece in pieces(KEY) if piece in done.stderr]


def test_the_pair_of_a_recorded_ca_can_still_be_judged(shell: Shell) -> None:
    with serve(CAS["other-key"].mesh) as server:
        shell("--record", "mesh.yaml", environment=server.environment)
    done = subprocess.run(
        [sys.executable, "-m", "istio_root", "expiry", "-f", "mesh.yaml", "-o", "json"],
        capture_output=True,
        text=True,
        check=False,
        cwd=shell.folder,
        env=shell.environment,
    )
    assert [finding["check"] for finding in json.loads(done.stdout)["findings"]] == ["key-matches"]


def test_ctrl_c_gives_the_partial_report(shell: Shell) -> None:
    slow = tuple(Proxy("slow", "shop", answers="hangs") for _ in range(3))
    with serve(proxies(*slow)) as server:
        running = subprocess.Popen(
            shell.command("-o", "json"),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**shell.environment, **server.environment},
        )
        asked = 0
        while asked < 9:
            asked = sum(request.path.endswith("/portforward") for request in server.requests)
            time.sleep(0.05)
        time.sleep(0.5)
        running.send_signal(signal.SIGINT)
        output, errors = running.communicate(timeout=30)
    envelope = json.loads(output)
    assert (running.returncode, errors, envelope["status"]) == (130, "", "unknown")
    assert sum(row["level"] == "unknown" for row in envelope["rows"]) == 3
    assert sum(row["level"] == "ok" for row in envelope["rows"]) == 14
    unseen = {finding["check"] for finding in envelope["findings"] if finding["unseen"]}
    assert ("copies-complete" in unseen, "delivered" in unseen) == (False, True)  # what is stored was seen whole
    assert "Run" not in output


def test_help_explains_itself(shell: Shell) -> None:
    done = shell("--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert "kubectl istio-certverify --wait --timeout 15m" in done.stdout


def test_accounts_that_citadel_left_behind_are_counted_once(shell: Shell) -> None:
    teams = (Namespace("bank", accounts=(Account("a"), Account("b"))),)
    path = dump(istiod(namespaces=teams), shell.folder / "mesh.json")
    text = shell("-f", str(path), "--stored").stdout
    assert text.count("2 Secrets of type istio.io/key-and-cert are left of Citadel: legacy, ignored") == 1

"""Measures the plugins on a real Kubernetes and a real mesh, beside what people type today (tests/cluster/README.md).

Every table is of one run: the commands take turns, and a busy moment meets all of them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import stored
import versions
from sandboxed import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from cluster.ground import Ground

RUNS = 5
START_RUNS = 15
FEW = 20  # of what is asked one by one: the rest would take as long for each
ENVOYS = 60
AWAY = 0.01
SECRETS = "/api/v1/secrets?fieldSelector=type%3Distio.io%2Fkey-and-cert&limit=500"
COPIES = "/api/v1/configmaps?fieldSelector=metadata.name%3Distio-ca-root-cert&limit=500"
PODS = "/api/v1/pods?limit=500"
_RELAY = """
import sys
from sandbox.distance import far
with far(sys.argv[1], float(sys.argv[2])) as url:
    print(url, flush=True)
    sys.stdin.read()
"""
CROWDS = ("crowd-0", "crowd-1", "crowd-2")
_OF_CROWDS = f"app in ({','.join(CROWDS)})"
_ASK_ALL = ("istio-certverify", "--live", "-n", "shop", "-l", _OF_CROWDS)
_AGENT = ("-c", "istio-proxy", "--", "pilot-agent", "request", "GET", "certs")


@dataclass(frozen=True, slots=True)
class Way:
    """A way to do it: commands, or a list in pages. `times`: so many of its runs would do it all."""

    name: str
    commands: Sequence[Sequence[str | Path]] = ()
    pages: str = ""
    times: float = 1


@dataclass(frozen=True, slots=True)
class Bench:
    """A running ground with the plugins on the PATH of its commands."""

    ground: Ground
    folder: Path

    def take_turns(self, title: str, ways: Sequence[Way], runs: int = RUNS, kubeconfig: str = "") -> None:
        """Measure and print; the first way is 1.00."""
        asked = [
            {"commands": [[str(word) for word in one] for one in way.commands], "pages": way.pages} for way in ways
        ]
        found = json.loads(
            self.run(Path(__file__).with_name("turns.py"), runs, self.folder, asked, kubeconfig=kubeconfig)
        )
        print(f"\n| {title} | ms | ratio | peak MB |\n|---|---:|---:|---:|")
        base = 0.0
        for way, result in zip(ways, found, strict=True):
            if not {0, 1} >= set(result["codes"]):
                sys.exit(f"{way.name}: exit codes {result['codes']}")
            taken = median(result["seconds"][1:]) * way.times
            base = base or taken
            number = f"{taken * 1000:,.0f}"
            print(f"| {way.name} | {number} | {taken / base:.2f} | {result['memory'] / 1024:.0f} |", flush=True)

    def run(self, script: Path, *arguments: object, kubeconfig: str = "") -> str:
        """Run a script of this folder inside the ground; a list is given to it as JSON, at its stdin."""
        words = [str(word) for word in arguments if not isinstance(word, list)]
        given = next((word for word in arguments if isinstance(word, list)), [])
        environment = {**self.ground.environment, "KUBERC": "off"}
        environment["PATH"] = os.pathsep.join((str(self.folder), environment["PATH"]))
        if kubeconfig:
            environment["KUBECONFIG"] = kubeconfig
        command = self.ground.command(sys.executable, "-IS", str(script), *words)
        done = subprocess.run(
            command, input=json.dumps(given), env=environment, stdout=subprocess.PIPE, text=True, check=True
        )
        return done.stdout

    def fill(self, objects: Iterable[dict[str, Any]]) -> None:
        file = self.folder / "objects"
        file.write_text("\n".join(json.dumps(body) for body in objects))
        self.run(Path(__file__).with_name("filling.py"), file)

    def expect(self, number: int, *command: str) -> None:
        """See that the plugin finds them all, with nothing unseen: a fast answer about nothing is no answer."""
        environment = {"PATH": os.pathsep.join((str(self.folder), self.ground.environment["PATH"]))}
        report = json.loads(self.ground.run("kubectl", *command, "-o", "json", environment=environment).stdout)
        if report["counts"]["checked"] < number or report["counts"]["unseen"]:
            sys.exit(f"{command}: not the mesh that was to be measured: {report['counts']} {report['findings']}")


@contextmanager
def benched(*, stores_only: bool) -> Iterator[Bench]:
    from cluster.ground import ground as running  # noqa: PLC0415 - found under tests/, which `sandboxed` puts on the path

    with TemporaryDirectory(prefix="bench-") as place, running(stores_only=stores_only) as kubernetes:
        build_plugins(Path(place))
        yield Bench(kubernetes, Path(place))


def build_plugins(folder: Path) -> None:
    subprocess.run([sys.executable, ROOT / "build/release.py", "--output", folder], stdout=sys.stderr, check=True)


def ground_stored() -> None:
    """10,000 workload Secrets of Citadel, each verified, and a tenth of them, on a real API server."""
    objects = stored.citadel().objects()
    early = {f"team-{number:03}" for number in range(stored.NAMESPACES // 10)}
    with benched(stores_only=True) as bench:
        for number, part in ((stored.SECRETS // 10, True), (stored.SECRETS, False)):
            bench.fill(body for body in objects if (_namespace(body) in early or not _is_team(body)) == part)
            one = ("kubectl", "get", "secret", "istio.account-000", "-n", "team-000", "-o", "json")
            ways = (
                Way("`kubectl get --raw`, in pages", pages=SECRETS),
                Way("`istio-certverify --stored`", [("kubectl", "istio-certverify", "--stored")]),
                Way("`istio-certverify --stored -o json`", [("kubectl", "istio-certverify", "--stored", "-o", "json")]),
                Way("`kubectl get secrets -A -o json`", [("kubectl", "get", "secrets", "-A", "-o", "json")]),
                Way(f"`kubectl get secret`, one by one (of {FEW})", [one] * FEW, times=number / FEW),
            )
            bench.expect(number, "istio-certverify", "--stored")
            bench.take_turns(f"{number:,} workload Secrets", ways)


def ground_copies() -> None:
    """1,000 namespaces, each with its copy of the root, on a real API server."""
    with benched(stores_only=True) as bench:
        bench.fill(stored.istiod().objects())
        one = ("kubectl", "get", "configmap", "istio-ca-root-cert", "-n", "team-0000", "-o", "json")
        every = ("kubectl", "get", "configmaps", "-A", "-o", "json")
        ways = (
            Way("`kubectl get --raw`, in pages", pages=COPIES),
            Way("`istio-root expiry`", [("kubectl", "istio-root", "expiry")]),
            Way("`istio-certverify --stored`", [("kubectl", "istio-certverify", "--stored")]),
            Way("`kubectl get configmaps -A -o json`", [every]),
            Way(f"`kubectl get configmap`, one by one (of {FEW})", [one] * FEW, times=1000 / FEW),
        )
        bench.expect(1000, "istio-certverify", "--stored")
        bench.take_turns("1,000 namespaces", ways)


def ground_versions() -> None:
    """5,000 pods of a real sidecar, and a fifth of them, on a real API server."""
    crowd = replace(versions.crowd(), namespaces=_teams())
    objects = crowd.objects()
    with benched(stores_only=True) as bench:
        pods = [body for body in objects if body["kind"] == "Pod" and _is_team(body)]
        bench.fill(body for body in objects if not (body["kind"] == "Pod" and _is_team(body)))
        fifth = len(pods) // 5
        for number, part in ((fifth, pods[:fifth]), (len(pods), pods[fifth:])):
            bench.fill(part)
            image = ("kubectl", "get", "pod", pods[0]["metadata"]["name"], "-n", _namespace(pods[0]), "-o", "json")
            ways = (
                Way("`kubectl get --raw`, in pages", pages=PODS),
                Way("`istio-proxyver`", [("kubectl", "istio-proxyver")]),
                Way("`istio-proxyver -o json`", [("kubectl", "istio-proxyver", "-o", "json")]),
                Way("`kubectl get pods -A -o json`", [("kubectl", "get", "pods", "-A", "-o", "json")]),
                Way(f"`kubectl get pod`, one by one (of {FEW})", [image] * FEW, times=number / FEW),
            )
            bench.expect(number, "istio-proxyver")
            bench.take_turns(f"{number:,} pods", ways)


def ground_live() -> None:
    """A start against `kubectl get` of one object, and 60 real Envoys asked: near, and 10 ms of round trip away."""
    from cluster.mesh import Mesh  # noqa: PLC0415 - as above
    from cluster.workloads import Workload, described  # noqa: PLC0415

    with benched(stores_only=False) as bench:
        mesh = Mesh(bench.ground)
        mesh.install()
        _start(bench)
        crowds = [
            Workload(name, "shop", native=False, replicas=ENVOYS // len(CROWDS), user=2000 + number)
            for number, name in enumerate(CROWDS)
        ]
        bench.ground.apply(*(one for crowd in crowds for one in described(crowd)))
        mesh.wait_for(*crowds, seconds=600)
        bench.expect(ENVOYS, *_ASK_ALL)
        _ask_envoys(bench, f"{ENVOYS} Envoys")
        with far_away(bench) as kubeconfig:
            _ask_envoys(bench, f"{ENVOYS} Envoys, {AWAY * 1000:.0f} ms away", kubeconfig)


@contextmanager
def far_away(bench: Bench) -> Iterator[str]:
    """Give the kubeconfig of the same API server behind a relay inside of the ground."""
    settings = json.loads(bench.ground.kubeconfig.read_text())
    cluster = settings["clusters"][0]["cluster"]
    command = bench.ground.command(sys.executable, "-c", _RELAY, cluster["server"], str(AWAY))
    with subprocess.Popen(
        command, env=bench.ground.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as relay:
        cluster["server"] = relay.stdout.readline().strip() if relay.stdout else ""
        kubeconfig = bench.folder / "far.kubeconfig"
        kubeconfig.write_text(json.dumps(settings))
        yield str(kubeconfig)
        relay.communicate()  # the end of its stdin ends it


def _start(bench: Bench) -> None:
    one_object = ("kubectl", "get", "configmap", "istio-ca-root-cert", "-n", "istio-system")
    ways = (
        Way("`kubectl get` of one object", [one_object]),
        Way("`istio-root --version`", [(bench.folder / "kubectl-istio_root", "--version")]),
        Way("`istio-root --help`", [(bench.folder / "kubectl-istio_root", "--help")]),
        Way("`istio-root expiry`", [(bench.folder / "kubectl-istio_root", "expiry")]),
        Way("`kubectl istio-root expiry`", [("kubectl", "istio-root", "expiry")]),
        Way("`istio-proxyver`", [(bench.folder / "kubectl-istio_proxyver",)]),
        Way("`istio-certverify`, 4 proxies", [(bench.folder / "kubectl-istio_certverify",)]),
    )
    bench.take_turns("a small mesh", ways, START_RUNS)


def _ask_envoys(bench: Bench, title: str, kubeconfig: str = "") -> None:
    listed = bench.ground.get("-n", "shop", "pods", "-l", _OF_CROWDS)["items"]
    few = [pod["metadata"]["name"] for pod in listed][:FEW]
    times = len(listed) / len(few)
    executing = [("kubectl", "exec", "-n", "shop", pod, *_AGENT) for pod in few]
    secrets = [("istioctl", "proxy-config", "secret", f"{pod}.shop", "-o", "json") for pod in few]
    ours = ("kubectl", *_ASK_ALL)
    ways = (
        Way("`istio-certverify --live`", [ours]),
        Way("the same, 64 at a time", [(*ours, "--concurrency", "64")]),
        Way("the same for one Envoy", [("kubectl", "istio-certverify", "--live", f"{few[0]}.shop")]),
        Way(f"`kubectl exec`, pod by pod (of {FEW})", executing, times=times),
        Way(f"`istioctl proxy-config secret`, pod by pod (of {FEW})", secrets, times=times),
    )
    bench.take_turns(title, ways, kubeconfig=kubeconfig)


def _teams() -> tuple[Any, ...]:
    from sandbox import Namespace  # noqa: PLC0415 - as above

    return tuple(Namespace(f"team-{number:03}") for number in range(versions.NAMESPACES))


def _namespace(body: dict[str, Any]) -> str:
    """Where it stands; of a namespace, itself."""
    metadata = body["metadata"]
    return str(metadata["name"] if body["kind"] == "Namespace" else metadata.get("namespace", ""))


def _is_team(body: dict[str, Any]) -> bool:
    return _namespace(body).startswith("team-")


PARTS: tuple[Callable[[], None], ...] = (ground_stored, ground_copies, ground_versions, ground_live)


def ground() -> None:
    """All of these, a quarter of an hour: root on Linux, as for build/test --cluster."""
    print(f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores; medians of {RUNS} runs, after one to warm up")
    for part in PARTS:
        part()

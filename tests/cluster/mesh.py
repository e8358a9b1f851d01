"""A real Istio on a ground: installed, given a CA, restarted, and asked whether its pods talk to each other."""

from __future__ import annotations

import base64
import json
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from itertools import permutations
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from cluster.ground import GroundError
from cluster.images import PROXY_IMAGE, under_another_name
from cluster.programs import HERE
from cluster.workloads import GATEWAY, HOME, OUTSIDE, WORKLOADS, described, manifests
from sandbox.issuing import Ca, ca_certificate, key_pem, pem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from cluster.ground import Ground
    from cluster.workloads import Workload

ISTIOD = f"{HOME}/istiod"
CANARY = f"{HOME}/istiod-canary"
CA_SECRET = "istio-ca-secret"
CACERTS = "cacerts"
ROOT_CONFIGMAP = "istio-ca-root-cert"
_KEPT = "previous-ca-cert.pem"  # by a change of ours
_ISTIOD = "pilot-discovery"  # as which it writes
_HELLO = "hello"
# How busybox's wget names what Envoy says where it cannot reach its peer.
_UNAVAILABLE = "503 Service Unavailable"
_NO_ANSWER = 143  # ended by `timeout`: a pod that has just gone may still be somebody's peer
_LEADER = "control-plane.alpha.kubernetes.io/leader"
_GENERATED_CACERTS = "USE_CACERTS_FOR_SELF_SIGNED_CA"
_LOOKS = "CITADEL_SELF_SIGNED_ROOT_CERT_CHECK_INTERVAL"
_GRACE = "CITADEL_SELF_SIGNED_ROOT_CERT_GRACE_PERIOD_PERCENTILE"
_JITTER = "CITADEL_ENABLE_JITTER_FOR_ROOT_CERT_ROTATOR"


@dataclass(frozen=True, slots=True)
class Mesh:
    """An installed mesh. `now` is what its hand-made CAs are dated from."""

    ground: Ground
    now: datetime = field(default_factory=lambda: datetime.now(UTC).replace(microsecond=0))

    def install(self) -> None:
        self.istioctl("install", "-y", "-f", str(HERE / "operator.yaml"), "--readiness-timeout", "180s")
        self.ground.apply(*manifests())
        self._rolled_out(*self.deployments, f"{OUTSIDE}/stranger")

    @contextmanager
    def canary(self) -> Iterator[None]:
        """Run a second revision that no namespace uses, for a while."""
        less = ("--set", "profile=minimal", "--set", "components.ingressGateways[0].enabled=false")
        self.istioctl("install", "-y", "-f", str(HERE / "operator.yaml"), *less, "--revision", "canary")
        try:
            yield
        finally:
            self.istioctl("uninstall", "-y", "--revision", "canary")

    @property
    def deployments(self) -> tuple[str, ...]:
        """Everything with a proxy."""
        return (*(workload.deployment for workload in WORKLOADS), f"{HOME}/{GATEWAY}")

    def istioctl(self, *arguments: str) -> str:
        return self.ground.say("istioctl", *arguments)

    def restart(self, *deployments: str) -> None:
        for namespace, name in (one.split("/") for one in deployments):
            self.ground.kubectl("-n", namespace, "rollout", "restart", f"deployment/{name}")
        self._rolled_out(*deployments)

    def start_afresh(self) -> None:
        """Let istiod make a CA of its own, and give every proxy its root."""
        self.ground.kubectl("-n", HOME, "delete", "secret", CA_SECRET, CACERTS, "--ignore-not-found")
        self.restart(ISTIOD)
        self.settle()
        self.restart(*self.deployments)

    def sign_with(self, ca: Ca) -> None:
        """Give the mesh this self-signed CA, and every proxy its root."""
        self.load_root(ca)
        self.restart(*self.deployments)

    def load_root(self, ca: Ca) -> None:
        """Give the control plane this self-signed CA."""
        self.store_root(ca)
        self.ground.kubectl("-n", HOME, "delete", "secret", CACERTS, "--ignore-not-found")
        self.restart(ISTIOD)
        self.settle(ca)

    def store_root(self, ca: Ca) -> None:
        """Put a root into istiod's Secret, as istiod lays it out and in its name, and restart nothing."""
        certificate = pem([ca_certificate(ca, self.now)])
        files = {"ca-cert.pem": certificate, "root-cert.pem": certificate, "ca-key.pem": key_pem(ca.key, ca.key_type)}
        empty = {"cert-chain.pem": "", "key.pem": ""}
        self.ground.apply(_secret(CA_SECRET, "istio.io/ca-root", {**files, **empty}), manager=_ISTIOD)
        self.merge(HOME, "secret", CA_SECRET, {"data": {_KEPT: None}}, manager=_ISTIOD)

    def plug_in(self, intermediate: Ca) -> None:
        """Put an intermediate and the root above it into `cacerts`, as istio's own tools do, and restart nothing."""
        root = intermediate.signed_by or intermediate
        issued, above = (pem([ca_certificate(ca, self.now)]) for ca in (intermediate, root))
        files = {
            "ca-cert.pem": issued,
            "ca-key.pem": key_pem(intermediate.key, intermediate.key_type),
            "cert-chain.pem": issued + above,
            "root-cert.pem": above,
        }
        self.ground.apply(_secret(CACERTS, "Opaque", files))

    def generate_cacerts(self) -> None:
        """Let istiod keep its self-signed CA in `cacerts`, a new one."""
        self.ground.kubectl("-n", HOME, "delete", "secret", CA_SECRET, CACERTS, "--ignore-not-found")
        self.ground.kubectl("-n", HOME, "set", "env", "deployment/istiod", f"{_GENERATED_CACERTS}=true")
        self._rolled_out(ISTIOD)

    def stop_generating_cacerts(self) -> None:
        self.ground.kubectl("-n", HOME, "set", "env", "deployment/istiod", f"{_GENERATED_CACERTS}-")

    def add(self, *workloads: Workload) -> None:
        self.ground.apply(*(one for workload in workloads for one in described(workload)))
        self.wait_for(*workloads)

    def wait_for(self, *workloads: Workload, seconds: int = 180) -> None:
        self._rolled_out(*(workload.deployment for workload in workloads), seconds=seconds)

    def remove(self, *workloads: Workload) -> None:
        for one in workloads:
            kinds = "deployment,service,serviceaccount"
            self.ground.kubectl("-n", one.namespace, "delete", kinds, "--field-selector", f"metadata.name={one.name}")
            eventually(partial(self._is_calm, one.namespace), f"no pod of {one.namespace} is ending")

    @contextmanager
    def added(self, *workloads: Workload) -> Iterator[None]:
        """Run these as well, for a while."""
        try:
            self.add(*workloads)
            yield
        finally:
            self.remove(*workloads)

    def agent(self, workload: Workload, *request: str) -> str:
        """Let its agent ask its Envoy's admin interface."""
        asking = (f"deployment/{workload.name}", "-c", "istio-proxy", "--", "pilot-agent", "request", *request)
        return self.ground.kubectl("-n", workload.namespace, "exec", *asking)

    def load_proxy(self, image: str, folder: Path) -> None:
        """Give the node the proxy's image once more, under another name."""
        self.ground.load(under_another_name(image, PROXY_IMAGE, self.ground.programs, folder))

    @contextmanager
    def renewing(self, below: int = 20) -> Iterator[None]:
        """Restart istiod so that it looks every 10 seconds whether less than so many percent of its root are left."""
        settings = (f"{_LOOKS}=10s", f"{_JITTER}=false", f"{_GRACE}={below}")
        self.ground.kubectl("-n", HOME, "set", "env", "deployment/istiod", *settings)
        try:
            self._rolled_out(ISTIOD)
            yield
        finally:
            self.ground.kubectl(
                "-n", HOME, "set", "env", "deployment/istiod", f"{_LOOKS}-", f"{_JITTER}-", f"{_GRACE}-"
            )
            self._rolled_out(ISTIOD)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Stop istiod where it stands: it would put a changed copy right within milliseconds."""
        pids = self.ground.pids_of("pilot-discovery")
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)

    def scale_istiod(self, replicas: int) -> None:
        self.ground.kubectl("-n", HOME, "scale", "deployment/istiod", f"--replicas={replicas}")
        if replicas:
            return
        self.ground.kubectl("-n", HOME, "wait", "--for=delete", "pod", "-l", "app=istiod", "--timeout=60s")

    def settle(self, ca: Ca | None = None) -> None:
        """Wait until every namespace and webhook holds one root, that of the Secret: a new istiod takes a while.

        It must win the lock first; and while the old one ends, the two overwrite each other.
        """
        wanted = self.fingerprint(ca) if ca else self.stored_root()
        eventually(lambda: self.published() == {wanted}, f"every copy holds {wanted}")

    def merge(
        self, namespace: str, kind: str, name: str, patch: Mapping[str, Any], manager: str = "kubectl-patch"
    ) -> None:
        how = ("--type=merge", f"--field-manager={manager}", "-p", json.dumps(patch))
        self.ground.kubectl("-n", namespace, "patch", kind, name, *how)

    def istiod_state(self) -> tuple[str, bool]:
        """Give the phase of the one istiod, and whether it is ready."""
        pods = self.ground.get("-n", HOME, "pods", "-l", "app=istiod")["items"]
        ready = [status["ready"] for pod in pods for status in pod["status"].get("containerStatuses", ())]
        return pods[0]["status"]["phase"] if pods else "", bool(ready) and all(ready)

    def publisher(self) -> str:
        """Name the revision that holds the lock: of all istiods, it alone writes the ConfigMaps."""
        lock = self.ground.get("-n", HOME, "configmap", "istio-namespace-controller-election")
        holder: str = json.loads(lock["metadata"]["annotations"][_LEADER])["holderKey"]
        return holder

    def fingerprint(self, ca: Ca) -> str:
        return _fingerprint(ca_certificate(ca, self.now))

    def stored_root(self) -> str:
        return self._of_the_secret("ca-cert.pem")

    def kept_root(self) -> str:
        """The one before it, which a change of ours keeps beside it."""
        return self._of_the_secret(_KEPT)

    def _of_the_secret(self, key: str) -> str:
        held = self.ground.get("-n", HOME, "secret", CA_SECRET)["data"][key]
        return _fingerprint(x509.load_pem_x509_certificate(base64.b64decode(held)))

    def published(self) -> set[str]:
        """The fingerprints of all published roots."""
        named = f"metadata.name={ROOT_CONFIGMAP}"
        copies = self.ground.get("configmaps", "-A", "--field-selector", named)["items"]
        bundles = [copy["data"]["root-cert.pem"].encode() for copy in copies]
        for webhooks in self.ground.get("mutatingwebhookconfigurations,validatingwebhookconfigurations")["items"]:
            bundles += [base64.b64decode(one["clientConfig"].get("caBundle", "")) for one in webhooks["webhooks"]]
        return {_fingerprint(one) for bundle in bundles for one in x509.load_pem_x509_certificates(bundle or b"")}

    def handshakes(self) -> dict[tuple[str, str], bool]:
        """Say of every ordered pair of workloads, and of the gateway with each, whether a new connection succeeds.

        After a restart, proxies learn where their peers are a moment later: asked until two rounds say the same.
        """
        before = self._handshakes()
        for _ in range(20):
            time.sleep(0.5)
            now = self._handshakes()
            if now == before:
                return now
            before = now
        raise GroundError(f"handshakes come and go: {before}")

    def _handshakes(self) -> dict[tuple[str, str], bool]:
        asked: dict[tuple[str, str], tuple[str, tuple[str, ...]]] = {
            (one.name, other.name): (one.deployment, (f"http://{other.host}",))
            for one, other in permutations(WORKLOADS, 2)
        }
        front = f"http://{GATEWAY}.{HOME}.svc.cluster.local"
        for one in WORKLOADS:
            asked[GATEWAY, one.name] = (f"{OUTSIDE}/stranger", ("--header", f"Host: {one.name}.example", front))
        with ThreadPoolExecutor(len(asked)) as several:
            return dict(zip(asked, several.map(lambda one: self._reaches(*one), asked.values()), strict=True))

    def _reaches(self, deployment: str, request: tuple[str, ...]) -> bool:
        namespace, name = deployment.split("/")
        asking = ("exec", f"deployment/{name}", "-c", "app", "--", "timeout", "10", "wget", "-qO-", *request)
        done = self.ground.run("kubectl", "-n", namespace, *asking)
        if done.stdout.strip() == _HELLO:
            return True
        if _UNAVAILABLE in done.stdout + done.stderr or done.returncode == _NO_ANSWER:
            return False
        raise GroundError(f"{deployment} {request}: {done.stdout}{done.stderr}")

    def _rolled_out(self, *deployments: str, seconds: int = 180) -> None:
        """Until the last old pod is gone, too: it would answer, and be listed."""
        for namespace, name in (one.split("/") for one in deployments):
            status = ("rollout", "status", f"deployment/{name}", f"--timeout={seconds}s")
            self.ground.kubectl("-n", namespace, *status, timeout=2 * seconds)
        for namespace in dict.fromkeys(one.split("/")[0] for one in deployments):
            eventually(partial(self._is_calm, namespace), f"no pod of {namespace} is ending")

    def _is_calm(self, namespace: str) -> bool:
        pods = self.ground.get("-n", namespace, "pods")["items"]
        return not any("deletionTimestamp" in pod["metadata"] for pod in pods)


def eventually(holds: Callable[[], bool], promise: str, seconds: float = 180) -> None:
    """Wait for what has to come; how long it takes is no promise of anybody's."""
    until = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > until:
            raise GroundError(f"not in {seconds:.0f} seconds: {promise}")
        time.sleep(0.5)


def _secret(name: str, kind: str, files: Mapping[str, str]) -> Mapping[str, Any]:
    data = {key: base64.b64encode(text.encode()).decode() for key, text in files.items()}
    metadata = {"name": name, "namespace": HOME}
    return {"apiVersion": "v1", "kind": "Secret", "type": kind, "metadata": metadata, "data": data}


def _fingerprint(certificate: x509.Certificate) -> str:
    return certificate.fingerprint(hashes.SHA256()).hex()

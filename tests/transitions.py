"""Changes of a root on a sandbox: the meshes, a run in this process or in another one, and what must always hold."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from istio_root.transition.changing import change
from istio_root.transition.wish import Verb, Wish
from meshtrust.cluster import Cluster, Connection
from meshtrust.errors import ToolError
from meshtrust.reading import Person, Reading
from meshtrust.render import Output, render
from meshtrust.source import Scope
from sandbox import Answer, Authority, Ca, ControlPlane, Edit, Lively, Mesh, Namespace, Proxy, serve
from sandbox.issuing import ca_certificate, pem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from meshtrust.report import Report
    from sandbox import Server

NOW = datetime.now(UTC).replace(microsecond=0)
HOME, CA = "istio-system", "istio-ca-secret"
SECRET = f"/api/v1/namespaces/{HOME}/secrets/{CA}"
DEPLOYMENTS = f"/apis/apps/v1/namespaces/{HOME}/deployments"
BUNDLES = "/api/v1/configmaps"

# What a cluster of twenty days before its end looks like, and one whose root is another edition already.
OLD = Ca(starts=timedelta(days=-3630), ends=timedelta(days=20), identifier="sha1")
NEWER = replace(OLD, starts=timedelta(hours=-2), ends=timedelta(days=3649))
ENDED = replace(OLD, starts=timedelta(days=-3660), ends=timedelta(days=-1))
OFF = ControlPlane(env={"CITADEL_SELF_SIGNED_ROOT_CERT_CHECK_INTERVAL": "0"})
LEDGER = Proxy("ledger", "bank")
_LEVELS = {"ok": 0, "warning": 1, "critical": 2, "unknown": 3}


def istiod(root: Ca = OLD, **parts: Any) -> Mesh:
    """A mesh whose control plane leaves its root alone; `parts` are further fields of a Mesh, or other ones."""
    told = {"control_planes": (OFF,), "namespaces": (Namespace("bank"),), "proxies": (LEDGER,)}
    return Mesh(now=NOW, ca=Authority(root=root), **(told | parts))


def citadel(root: Ca = OLD, **parts: Any) -> Mesh:
    """The same before istiod, with a Citadel and an injector."""
    return istiod(
        replace(root, identifier="none"),
        **({"era": "citadel", "version": "1.4.10", "parts": ("sidecar-injector",)} | parts),
    )


ERAS: dict[str, Callable[..., Mesh]] = {"istiod": istiod, "citadel": citadel}


def text(root: Ca) -> str:
    return pem([ca_certificate(root, NOW)])


def certificate(root: Ca) -> x509.Certificate:
    return ca_certificate(root, NOW)


def changed(era: str = "istiod", **parts: Any) -> Mesh:
    """A mesh that has had a change: it lives by NEWER, and OLD is kept beside it."""
    mesh = ERAS[era](NEWER, **parts)
    old = replace(mesh.ca.root, starts=OLD.starts, ends=OLD.ends)
    fingerprint = fingerprint_of(certificate(mesh.ca.root))
    note = f"# superseded by sha256:{fingerprint} at {NOW - timedelta(hours=2):%Y-%m-%dT%H:%M:%SZ}\n"
    kept = Edit(
        kind="Secret",
        namespace=HOME,
        name=mesh.ca.secret,
        patch={"stringData": {"previous-ca-cert.pem": note + text(old)}},
    )
    return replace(mesh, edits=(*mesh.edits, kept))


def lively(mesh: Mesh, **more: Any) -> AbstractContextManager[Server]:
    """A hundred times as fast as a real one."""
    return serve(mesh, lively=Lively(**({"pace": 0.01} | more)))


# Runs.


@dataclass(frozen=True, slots=True)
class Ended:
    """How a run in this process ended: what it would have exited with, its last line, its report, what it told."""

    code: int
    line: str
    report: Report | None = None
    told: tuple[str, ...] = ()
    shown: tuple[str, ...] = ()

    @property
    def states(self) -> dict[str, str]:
        """What became of each kind of step."""
        return {row["step"]: row["state"] for row in self.report.rows} if self.report else {}

    @property
    def words(self) -> str:
        """All that a person would read of it."""
        return f"{self.line}\n{render(self.report, Output.TABLE) if self.report else ''}{''.join(self.told)}"


def run(
    server: Server,
    verb: Verb = Verb.TRANSITION,
    *,
    request_timeout: float = 10.0,
    ask: Callable[[str], bool] | None = None,
    scope: Scope | None = None,
    **wish: Any,
) -> Ended:
    """Carry it out without a question, unless told otherwise, and look more often than one would at a real mesh."""
    told: list[str] = []
    shown: list[str] = []
    wanted = {"apply": True, "yes": ask is None, "timeout": 60.0, "pause": 0.05} | wish
    connection = Connection(kubeconfig=str(server.kubeconfig), request_timeout=request_timeout)
    person = Person(told.append, lambda report: shown.append(render(report, Output.TABLE)), ask)
    try:
        with Cluster(connection) as cluster:
            reading = Reading(cluster, scope or Scope(), datetime.now(UTC), (), person=person)
            report = change(reading, Wish(verb, **wanted))
    except ToolError as error:
        return Ended(error.status, f"{error.message} - {error.hint}", None, tuple(told), tuple(shown))
    code = 130 if report.interrupted else _LEVELS[str(report.status)]
    return Ended(code, report.verdict, report, tuple(told), tuple(shown))


restore = partial(run, verb=Verb.RESTORE)


def cut_after_the_write(server: Server, verb: Verb = Verb.TRANSITION) -> Ended:
    """Let a run end right after its write: from then on it may not touch a Deployment any more."""

    def forbid(_: object) -> None:
        server.faults.add(Answer(403, "no more"), path=f"{DEPLOYMENTS}*")

    server.on(forbid, method="PATCH", path=SECRET, after=True)
    ended = run(server, verb, timeout=3.0)
    server.faults.clear()
    assert ended.states["write"] == "done", ended.words
    assert ended.code in {2, 3}, ended.words
    return ended


def environment(server: Server) -> dict[str, str]:
    """Of a process that nothing of this one's is passed on to."""
    home = {"HOME": str(server.folder), "TMPDIR": str(server.folder)}
    return {"PATH": os.environ["PATH"], "NO_COLOR": "1", **home, **server.environment}


def command(*args: str, module: str = "istio_root") -> list[str]:
    return [sys.executable, "-m", module, *args]


def typed(server: Server, *args: str, module: str = "istio_root", **more: Any) -> subprocess.CompletedProcess[str]:
    """Run a command line to its end, with nobody at a terminal."""
    options: dict[str, Any] = {"env": environment(server), "stdin": subprocess.DEVNULL, "capture_output": True} | more
    done: subprocess.CompletedProcess[str] = subprocess.run(
        command(*args, module=module), text=True, timeout=120, check=False, **options
    )
    return done


def begun(server: Server, *args: str, **more: Any) -> subprocess.Popen[str]:
    """Start a command line, and let it run."""
    pipes: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command(*args), text=True, env=environment(server), **(pipes | more))


# What stands there.


def texts(server: Server, name: str = CA, namespace: str = HOME) -> dict[str, str]:
    """The data of a Secret, decoded; nothing where there is no Secret."""
    bodies = (one for one in server.objects("Secret") if one["metadata"].get("namespace") == namespace)
    return decoded(next((one for one in bodies if one["metadata"]["name"] == name), {}))


def decoded(body: dict[str, Any]) -> dict[str, str]:
    return {key: base64.b64decode(value).decode() for key, value in (body.get("data") or {}).items()}


def fingerprint_of(one: x509.Certificate) -> str:
    return one.fingerprint(SHA256()).hex()


def first(text: str) -> x509.Certificate:
    return x509.load_pem_x509_certificates(text.encode())[0]


def root(server: Server, name: str = CA) -> x509.Certificate:
    return first(texts(server, name)["ca-cert.pem"])


def previous(server: Server, name: str = CA) -> x509.Certificate:
    return first(texts(server, name)["previous-ca-cert.pem"])


def editions(server: Server, name: str = CA) -> list[x509.Certificate]:
    """Every root that ever stood in the Secret, oldest first; each once in a row."""
    found = [first(decoded(body)["ca-cert.pem"]) for body in server.history("Secret", HOME, name) if body]
    return [one for number, one in enumerate(found) if number == 0 or one != found[number - 1]]


def is_edition(new: x509.Certificate, old: x509.Certificate) -> bool:
    """Say whether all is the same but the dates and the serial, octet for octet."""
    same = new.public_key() == old.public_key() and new.subject.public_bytes() == old.subject.public_bytes()
    extensions = [(one.oid, one.critical, one.value) for one in new.extensions]
    return same and extensions == [(one.oid, one.critical, one.value) for one in old.extensions]


def assert_whole(server: Server, name: str = CA) -> None:
    """There was no moment without a certificate and a key that belong together, and nobody touched the key."""
    bodies = server.history("Secret", HOME, name)
    keys = set()
    for body in bodies:
        assert body is not None, "there was a moment without a CA"
        held = decoded(body)
        key = load_pem_private_key(held["ca-key.pem"].encode(), None)
        for under in ("ca-cert.pem", *(("root-cert.pem",) if held.get("root-cert.pem") else ())):
            assert first(held[under]).public_key() == key.public_key()
        keys.add(body["data"]["ca-key.pem"])
    assert len(keys) == 1


def published(server: Server) -> Iterator[tuple[str, list[x509.Certificate]]]:
    """Every copy that the CA itself writes: ConfigMaps and caBundles of istiod, Secrets of Citadel's."""
    if server.mesh.era == "citadel":
        for one in server.objects("Secret"):
            if one.get("type") == "istio.io/key-and-cert":
                yield _placed(one), _read(decoded(one)["root-cert.pem"])
        return
    for one in server.objects("ConfigMap"):
        if one["metadata"]["name"] == "istio-ca-root-cert":
            yield _placed(one), _read(one["data"]["root-cert.pem"])
    for kind in ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"):
        for one in server.objects(kind):
            for hook in one["webhooks"]:
                yield _placed(one), _read(base64.b64decode(hook["clientConfig"]["caBundle"]).decode())


def _placed(body: dict[str, Any]) -> str:
    return f"{body['kind']} {body['metadata'].get('namespace', '')}/{body['metadata']['name']}"


def _read(text: str) -> list[x509.Certificate]:
    return x509.load_pem_x509_certificates(text.encode())


def behind(server: Server, name: str = CA) -> list[str]:
    """Which copies do not hold the root that stands in the Secret."""
    now = root(server, name)
    return [place for place, held in published(server) if now not in held]


def writes(server: Server) -> list[str]:
    """All that was asked to be written, in order: the paths of the PATCHes, and anything that is no reading."""
    reviews = "selfsubjectaccessreviews"
    return [one.path for one in server.requests if one.method != "GET" and not one.path.endswith(reviews)]

"""Meshes that react: what the tests of it describe, write, and look at."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from cryptography import x509

from asking import KUBECTLS, kubectl
from sandbox import Authority, Ca, Lively, Mesh, Namespace
from sandbox.issuing import ca_certificate, key_pem, pem

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sandbox import Server

HOME = "istio-system"
LIVELY = Lively(pace=0.01)
ROOT = Ca()
NEW = replace(ROOT, starts=timedelta(0), ends=timedelta(days=3650))


def mesh(**parts: Any) -> Mesh:
    """A mesh of now: what happens in it has the dates of the real clock."""
    described: dict[str, Any] = {"now": datetime.now(UTC), "namespaces": (Namespace("bank"),)}
    return Mesh(**described | parts)


def citadel(**parts: Any) -> Mesh:
    root = Authority(root=replace(ROOT, identifier="none"))
    described: dict[str, Any] = {"era": "citadel", "version": "1.4.10", "ca": root}
    return mesh(**described | parts)


def extended(mesh: Mesh, **changes: Any) -> x509.Certificate:
    """The root of a mesh in a new edition: its key, its subject, ten years from now."""
    return ca_certificate(replace(mesh.ca.root, starts=timedelta(0), ends=NEW.ends, **changes), mesh.now)


def write_root(server: Server, root: x509.Certificate, key: str = "") -> None:
    texts = {"ca-cert.pem": pem([root])} | ({"ca-key.pem": key_pem(key)} if key else {})
    server.change("Secret", HOME, "istio-ca-secret", {"stringData": texts})


def restart(server: Server, workload: str, namespace: str = HOME) -> None:
    """By the kubectl of PyPI, and with it wait until it says that this is done."""
    for verb in ("restart", "status"):
        done = kubectl(server, "rollout", verb, workload, "-n", namespace, command=KUBECTLS[-1])
        assert done.returncode == 0, done.stderr


def one(server: Server, kind: str, namespace: str, name: str) -> dict[str, Any]:
    (body,) = (
        body
        for body in server.objects(kind)
        if (body["metadata"].get("namespace", ""), body["metadata"]["name"]) == (namespace, name)
    )
    return body


def pods(server: Server, workload: str, namespace: str = HOME) -> dict[str, dict[str, Any]]:
    """The pods of a Deployment or DaemonSet, by name."""
    listed = (body for body in server.objects("Pod") if body["metadata"]["namespace"] == namespace)
    return {
        body["metadata"]["name"]: body
        for body in listed
        if body["metadata"]["name"].rsplit("-", 2)[0] == workload
        or body["metadata"]["name"].rsplit("-", 1)[0] == workload
    }


def pod(server: Server, workload: str, namespace: str = HOME) -> str:
    (name,) = pods(server, workload, namespace)
    return name


def certificates(text: str | bytes) -> list[x509.Certificate]:
    return x509.load_pem_x509_certificates(text.encode() if isinstance(text, str) else text)


def published(server: Server, namespace: str = "bank") -> list[x509.Certificate]:
    return certificates(one(server, "ConfigMap", namespace, "istio-ca-root-cert")["data"]["root-cert.pem"])


def patched(body: dict[str, Any]) -> list[x509.Certificate]:
    """What the first entry of a webhook configuration trusts."""
    return certificates(base64.b64decode(body["webhooks"][0]["clientConfig"]["caBundle"]))


def injection(server: Server, name: str = "istio-sidecar-injector") -> list[x509.Certificate]:
    return patched(one(server, "MutatingWebhookConfiguration", "", name))


def stored(server: Server, namespace: str, name: str, key: str) -> list[x509.Certificate]:
    return certificates(base64.b64decode(one(server, "Secret", namespace, name)["data"][key]))


def in_memory(server: Server, namespace: str, pod: str) -> tuple[x509.Certificate, list[x509.Certificate]]:
    """Leaf and roots of an Envoy."""
    dump = json.loads(server.admin(namespace, pod, "config_dump?resource=dynamic_active_secrets"))
    found = {entry["name"]: entry["secret"] for entry in dump["configs"]}
    chain = found["default"]["tls_certificate"]["certificate_chain"]["inline_bytes"]
    roots = found["ROOTCA"]["validation_context"]["trusted_ca"]["inline_bytes"]
    return certificates(base64.b64decode(chain))[0], certificates(base64.b64decode(roots))


def of_node(server: Server, pod: str) -> dict[str, list[x509.Certificate]]:
    """The roots of each identity in a ztunnel, by its account."""
    listed = json.loads(server.admin(HOME, pod, "config_dump"))["certificates"]
    return {
        entry["identity"].rpartition("/")[2]: [
            found for root in entry["rootCerts"] for found in certificates(base64.b64decode(root["pem"]))
        ]
        for entry in listed
    }


def key_identifiers(leaf: x509.Certificate, root: x509.Certificate) -> tuple[bytes | None, bytes | None]:
    """The leaf's of its signer, and the root's of itself."""
    authority = _extension(leaf, x509.AuthorityKeyIdentifier)
    subject = _extension(root, x509.SubjectKeyIdentifier)
    return (
        None if authority is None else authority.key_identifier,
        None if subject is None else subject.digest,
    )


def versions(bodies: Iterable[dict[str, Any] | None]) -> list[int]:
    return [int(body["metadata"]["resourceVersion"]) for body in bodies if body is not None]


def _extension(certificate: x509.Certificate, kind: Any) -> Any:
    return next((one.value for one in certificate.extensions if isinstance(one.value, kind)), None)

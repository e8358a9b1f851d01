"""What a pretend Envoy answers on its admin port: the shapes of real ones, filled from the description."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sandbox import building, proxies
from sandbox.issuing import Leaf, ca_certificate, leaf_certificate, pem
from sandbox.shapes import stamp

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from cryptography.x509 import Certificate

    from sandbox.mesh import Mesh, Proxy
    from sandbox.shapes import Body

_TYPE = "type.googleapis.com/envoy.admin.v3."
_REDACTED = "W3JlZGFjdGVkXQ=="
_CONTEXTS = 3  # one entry for each TLS context: a real sidecar has some twenty of them, all alike


@dataclass(frozen=True, slots=True)
class Held:
    """What a proxy has in memory since a time: its leaf, what was sent behind it, and the roots that it trusts."""

    leaf: Certificate
    chain: tuple[Certificate, ...]
    roots: tuple[Certificate, ...]
    since: datetime


def answer(mesh: Mesh, proxy: Proxy, pod: str, path: str, query: Mapping[str, str], held: Held | None) -> Body | None:
    """Give the JSON at a path; None is an unknown path. What it holds is what is described, until it renews."""
    if path == "/certs":
        return _certs(mesh, proxy, held or described(mesh, proxy))
    if path == "/config_dump":
        return _config_dump(mesh, proxy, pod, query, held or described(mesh, proxy))
    if path == "/server_info":
        return _server_info(mesh, proxy, pod)
    return None


def described(mesh: Mesh, proxy: Proxy) -> Held:
    roots = tuple(ca_certificate(ca, mesh.now) for ca in (mesh.ca.bundle if proxy.holds is None else proxy.holds))
    between = tuple(ca_certificate(ca, mesh.now) for ca in reversed(mesh.ca.issuers))
    leaf = leaf_certificate(_leaf(mesh, proxy), mesh.ca.signer, identity_of(mesh, proxy), mesh.now, era=mesh.era)
    # All that istiod sends behind the leaf: of a self-signed CA that is its root.
    chain = (*between, *roots) if mesh.ca.chain else roots[:1]
    return Held(leaf, chain, roots, mesh.now + proxy.leaf.issued)


def _leaf(mesh: Mesh, proxy: Proxy) -> Leaf:
    """What is not described is, in Citadel's era, the leaf of the Secret that it mounts."""
    if mesh.era != "citadel" or proxy.leaf != Leaf():
        return proxy.leaf
    secrets = (
        account for place in mesh.all_namespaces() if place.name == proxy.namespace for account in mesh.accounts(place)
    )
    wanted = proxy.account or proxy.name
    return next((account.leaf for account in secrets if account.name == wanted), proxy.leaf)


def _certs(mesh: Mesh, proxy: Proxy, held: Held) -> Body:
    """Only the first CA of a bundle is shown, as in every Envoy so far."""
    mounted = mesh.era == "citadel"
    leaf_path, root_path = ("/etc/certs/cert-chain.pem", "/etc/certs/root-cert.pem") if mounted else ("<inline>",) * 2
    uri = {"uri": proxy.leaf.identity or identity_of(mesh, proxy)}
    entry = {
        "ca_cert": [_shown(mesh, root, root_path, []) for root in held.roots[:1]],
        "cert_chain": [_shown(mesh, held.leaf, leaf_path, [uri])],
    }
    return {"certificates": [entry] * _CONTEXTS}


def identity_of(mesh: Mesh, proxy: Proxy) -> str:
    return f"spiffe://{mesh.trust_domain}/ns/{proxy.namespace}/sa/{proxy.account or proxy.name}"


def _shown(mesh: Mesh, certificate: Certificate, path: str, names: list[Body]) -> Body:
    serial = f"{certificate.serial_number:x}"
    left = (certificate.not_valid_after_utc - mesh.now).days
    return {
        "path": path,
        "serial_number": serial.zfill(len(serial) + len(serial) % 2),  # whole octets, so a leading zero may stand
        "subject_alt_names": names,
        "days_until_expiration": str(max(left, 0)),
        "valid_from": stamp(certificate.not_valid_before_utc),
        "expiration_time": stamp(certificate.not_valid_after_utc),
    }


def _config_dump(mesh: Mesh, proxy: Proxy, pod: str, query: Mapping[str, str], held: Held) -> Body:
    secrets = [] if mesh.era == "citadel" else _secrets(held)
    if wanted := query.get("name_regex"):
        secrets = [secret for secret in secrets if re.fullmatch(wanted, secret["name"])]
    if query.get("resource") == "dynamic_active_secrets":
        kind = f"{_TYPE}SecretsConfigDump.DynamicSecret"
        return {"configs": [{"@type": kind, **secret} for secret in secrets]}
    if "resource" in query:
        return {}
    dumped: list[Body] = []
    if "bootstrap" in query.get("mask", "bootstrap"):
        bootstrap = {"node": _node(mesh, proxy, pod)}
        at = stamp(mesh.now + proxy.started)
        dumped.append({"@type": f"{_TYPE}BootstrapConfigDump", "bootstrap": bootstrap, "last_updated": at})
        dumped.append({"@type": f"{_TYPE}ClustersConfigDump", "version_info": f"{at}/1"})
    if secrets:
        dumped.append({"@type": f"{_TYPE}SecretsConfigDump", "dynamic_active_secrets": secrets})
    return {"configs": dumped}


def _secrets(held: Held) -> list[Body]:
    chain = _inline([held.leaf, *held.chain])
    tls = {"certificate_chain": chain, "private_key": {"inline_bytes": _REDACTED}}
    return [
        _secret(held.since, "default", {"tls_certificate": tls}, 1),
        _secret(held.since, "ROOTCA", {"validation_context": {"trusted_ca": _inline(list(held.roots))}}, 2),
    ]


def _secret(at: datetime, name: str, held: Body, number: int) -> Body:
    kind = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"
    return {
        "name": name,
        "version_info": f"{stamp(at)}/{number}",
        "last_updated": at.strftime("%Y-%m-%dT%H:%M:%S.000Z"),
        "secret": {"@type": kind, "name": name, **held},
    }


def _inline(certificates: list[Certificate]) -> Body:
    return {"inline_bytes": base64.b64encode(pem(certificates).encode()).decode()}


def _server_info(mesh: Mesh, proxy: Proxy, pod: str) -> Body:
    uptime = f"{int(-proxy.started.total_seconds())}s"
    info: Body = {
        "version": f"{'9e55809337' * 4}/1.35.3/Clean/RELEASE/BoringSSL",
        "state": "LIVE" if proxy.ready else "PRE_INITIALIZING",
        "uptime_current_epoch": uptime,
        "uptime_all_epochs": uptime,
        "hot_restart_version": "disabled",
        "command_line_options": {"concurrency": 2, "log_level": "warning", "mode": "Serve", "drain_time": "45s"},
    }
    if mesh.era != "citadel":  # Envoys of that time did not tell their node here
        info["node"] = _node(mesh, proxy, pod)
    return info


def _node(mesh: Mesh, proxy: Proxy, pod: str) -> Body:
    role = {"gateway": "router", "waypoint": "waypoint"}.get(proxy.kind, "sidecar")
    version = proxy.version or _version_of(proxies.proxy_image(mesh, proxy)) or mesh.version
    return {
        "id": f"{role}~10.244.0.1~{pod}.{proxy.namespace}~{proxy.namespace}.svc.cluster.local",
        "cluster": f"{proxy.name}.{proxy.namespace}",
        "metadata": {
            "ISTIO_VERSION": version,
            "NAME": pod,
            "NAMESPACE": proxy.namespace,
            "SERVICE_ACCOUNT": proxy.account or proxy.name,
            "MESH_ID": mesh.trust_domain,
            "CLUSTER_ID": "Kubernetes",
        },
        "user_agent_name": "envoy",
    }


def _version_of(image: str) -> str:
    matched = re.search(r":v?(\d+\.\d+\.\d+)", image)
    return matched[1] if matched and building.release(matched[1]) else ""

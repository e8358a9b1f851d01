"""How a described mesh becomes objects: Istio's names, labels, keys and layouts, by era and version."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from typing import TYPE_CHECKING

from sandbox import control_planes, editing, proxies, shapes
from sandbox.issuing import (
    Ca,
    ca_certificate,
    crl,
    key_pem,
    leaf_certificate,
    pem,
    serving_certificate,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import timedelta

    from sandbox.mesh import Account, Authority, ControlPlane, Mesh, Namespace, Proxy
    from sandbox.shapes import Body

_KUBERNETES = Ca(key="kubernetes", key_type="ec", subject="CN=kubernetes", identifier="sha1")


def objects_of(mesh: Mesh) -> list[Body]:
    bodies: dict[tuple[str, str, str], Body] = {}
    for body in (body for part in (mesh, *mesh.others) for body in _parts(part)):
        bodies.setdefault(editing.key_of(body), body)
    for edit in (*mesh.edits, *(edit for other in mesh.others for edit in other.edits)):
        editing.apply(edit, bodies, mesh)
    return shapes.stamped(bodies[key] for key in sorted(bodies))


def pods_of(mesh: Mesh) -> dict[tuple[str, str], tuple[Mesh, Proxy]]:
    """Give the proxy in each pod, by the pod's namespace and name, and whose mesh it is of."""
    return {
        (workload.namespace, workload.pod_name(ordinal)): (part, proxy)
        for part in (mesh, *mesh.others)
        for group in part.grouped_proxies().values()
        for workload in [proxies.workload(part, group)]
        for ordinal, proxy in enumerate(group)
    }


def linked(chain: tuple[Ca, ...]) -> tuple[Ca, ...]:
    """Sign each by the one before it, where it does not name its signer."""
    done: list[Ca] = []
    for ca in chain:
        done.append(replace(ca, signed_by=done[-1]) if done and ca.signed_by is None else ca)
    return tuple(done)


def release(version: str) -> tuple[int, int]:
    major, minor, *_ = version.split(".")
    return int(major), int(minor)


def bundle_pem(mesh: Mesh, holds: tuple[Ca, ...] | None) -> str:
    return pem(ca_certificate(ca, mesh.now) for ca in (mesh.ca.bundle if holds is None else holds))


def _parts(mesh: Mesh) -> Iterator[Body]:
    for namespace in mesh.all_namespaces():
        yield from _namespace(mesh, namespace)
    if mesh.era != "none":
        yield _bystander(mesh)
        for control_plane in mesh.control_planes:
            yield from _control_plane(mesh, control_plane)
    yield from _trust(mesh)
    for cluster in mesh.remotes:
        yield _remote_secret(mesh, cluster)
    for workload in control_planes.parts(mesh):
        yield from workload.objects()
    for group in mesh.grouped_proxies().values():
        yield from proxies.workload(mesh, group).objects()


def _trust(mesh: Mesh) -> Iterator[Body]:
    for authority in (*mesh.beside, mesh.ca):
        if authority.secret:
            yield _ca_secret(mesh, authority)
    if mesh.era == "citadel" and mesh.istio_security != ():
        yield _istio_security(mesh)
    if mesh.trust_bundle is not None:
        yield _trust_bundle(mesh, mesh.trust_bundle)
    if mesh.istiod_tls is not None:
        yield _istiod_tls(mesh)


def _namespace(mesh: Mesh, namespace: Namespace) -> Iterator[Body]:
    created = mesh.now + mesh.ca.created
    yield shapes.namespace_object(namespace.name, namespace.labels, created, terminating=namespace.terminating)
    yield shapes.config_map(
        shapes.meta("kube-root-ca.crt", namespace.name, created),
        {"ca.crt": pem([ca_certificate(_KUBERNETES, mesh.now)])},
    )
    published = namespace.publishes
    if published is None:
        published = mesh.ca.bundle if _publishes(mesh, namespace) else ()
    labelled = {"istio.io/config": "true"}
    if published:
        metadata = shapes.meta("istio-ca-root-cert", namespace.name, created, labels=labelled)
        yield shapes.config_map(metadata, {"root-cert.pem": bundle_pem(mesh, published)})
        if release(mesh.version) >= (1, 27):
            metadata = shapes.meta("istio-ca-crl", namespace.name, created, labels=labelled)
            yield shapes.config_map(metadata, {"ca-crl.pem": ""})
    for account in mesh.accounts(namespace):
        yield shapes.service_account(account.name, namespace.name, created)
        yield _workload_secret(mesh, namespace.name, account)


def _publishes(mesh: Mesh, namespace: Namespace) -> bool:
    return mesh.era == "istiod" and mesh.trust_bundle is None and not namespace.terminating


def _workload_secret(mesh: Mesh, namespace: str, account: Account) -> Body:
    identity = f"spiffe://{mesh.trust_domain}/ns/{namespace}/sa/{account.name if account.annotated else ''}"
    leaf = leaf_certificate(account.leaf, mesh.ca.signer, identity, mesh.now, era="citadel")
    annotations = {"istio.io/service-account.name": account.name} if account.annotated else {}
    above = [ca_certificate(ca, mesh.now) for ca in reversed(mesh.ca.issuers[1:])]
    return shapes.secret(
        shapes.meta(f"istio.{account.name}", namespace, mesh.now + mesh.ca.created, annotations=annotations),
        "istio.io/key-and-cert",
        {
            "cert-chain.pem": pem([leaf, *above]),
            "key.pem": key_pem(account.leaf.key),
            "root-cert.pem": bundle_pem(mesh, account.holds),
        },
    )


def _ca_secret(mesh: Mesh, authority: Authority) -> Body:
    kind = "Opaque" if authority.secret == "cacerts" and not authority.generated else "istio.io/ca-root"
    if authority.layout == "tls":
        kind = "kubernetes.io/tls"
    texts = {key: text for key, text in _ca_texts(mesh, authority).items() if key not in authority.lacks}
    created = mesh.now + authority.created
    body = shapes.secret(shapes.meta(authority.secret, mesh.home, created), kind, texts)
    own = kind == "istio.io/ca-root"
    writer = ("istio_ca" if mesh.era == "citadel" else "pilot-discovery") if own else "kubectl-create"
    body = shapes.with_manager(body, authority.manager or writer, created)
    return shapes.with_last_applied(body) if authority.applied else body


def _ca_texts(mesh: Mesh, authority: Authority) -> dict[str, str]:
    issuers = [ca_certificate(ca, mesh.now) for ca in authority.issuers]
    roots = bundle_pem(mesh, authority.bundle)
    signer = authority.signer
    key = key_pem(authority.stored_key or signer.key, "rsa" if authority.stored_key else signer.key_type)
    texts: dict[str, str] = {}
    if authority.layout == "tls":
        texts |= {"tls.crt": pem(reversed(issuers[1:] or issuers)), "tls.key": key, "ca.crt": roots}
    elif authority.secret == "cacerts" and not authority.generated:
        texts |= {"ca-cert.pem": pem(issuers[-1:]), "ca-key.pem": key, "root-cert.pem": roots}
        texts |= {"cert-chain.pem": pem(reversed(issuers))}
    else:
        texts |= {"ca-cert.pem": pem(issuers[-1:]), "ca-key.pem": key} | _self_signed_rest(mesh, authority, roots)
    if authority.crl_ends is not None:
        texts["ca-crl.pem"] = crl(authority.root, authority.crl_ends, mesh.now)
    return texts


def _self_signed_rest(mesh: Mesh, authority: Authority, roots: str) -> dict[str, str]:
    """The keys beside certificate and key: none in 1.0, three empty ones, and from 1.20 on the root at birth."""
    made_by = release(authority.made_by or mesh.version)
    if made_by < (1, 1):
        return {}
    rest = {"cert-chain.pem": "", "key.pem": "", "root-cert.pem": roots if made_by >= (1, 20) else ""}
    return rest | ({"istio-generated": ""} if authority.generated else {})


def _istio_security(mesh: Mesh) -> Body:
    """Base64 of the PEM: of the bundle, or of the chain where the CA is plugged in."""
    plugged = mesh.ca.secret == "cacerts"
    default = tuple(reversed(mesh.ca.issuers)) if plugged else mesh.ca.bundle
    text = bundle_pem(mesh, default if mesh.istio_security is None else mesh.istio_security)
    encoded = base64.b64encode(text.encode()).decode()
    metadata = shapes.meta("istio-security", mesh.home, mesh.now + mesh.ca.created)
    return shapes.config_map(metadata, {"caTLSRootCert": encoded})


def _trust_bundle(mesh: Mesh, roots: tuple[Ca, ...]) -> Body:
    return shapes.trust_bundle(
        "istio.io:istiod-ca:root-cert",
        "istio.io/istiod-ca",
        bundle_pem(mesh, roots),
        "v1beta1",
        mesh.now + mesh.ca.created,
    )


def _istiod_tls(mesh: Mesh) -> Body:
    assert mesh.istiod_tls is not None
    names = (f"istiod.{mesh.home}.svc",)
    serving = serving_certificate(mesh.istiod_tls, mesh.ca.signer, names, mesh.now)
    texts = {
        "tls.crt": pem([serving]),
        "tls.key": key_pem(mesh.istiod_tls.key),
        "ca.crt": bundle_pem(mesh, None),
    }
    metadata = shapes.meta("istiod-tls", mesh.home, mesh.now + mesh.istiod_tls.issued)
    return shapes.secret(metadata, "kubernetes.io/tls", texts)


def _remote_secret(mesh: Mesh, cluster: str) -> Body:
    """What `istioctl create-remote-secret` makes: the kubeconfig of another cluster."""
    metadata = shapes.meta(
        f"istio-remote-secret-{cluster}",
        mesh.home,
        mesh.now + mesh.ca.created,
        labels={"istio/multiCluster": "true"},
        annotations={"networking.istio.io/cluster": cluster},
    )
    return shapes.secret(metadata, "Opaque", {cluster: "apiVersion: v1\nkind: Config\n"})


def _bystander(mesh: Mesh) -> Body:
    """A Secret that has nothing to do with any CA: no control-plane namespace is without one."""
    metadata = shapes.meta("sh.helm.release.v1.istiod.v1", mesh.home, mesh.now + mesh.ca.created)
    metadata["labels"] = {"name": "istiod", "owner": "helm", "status": "deployed", "version": "1"}
    return shapes.secret(metadata, "helm.sh/release.v1", {"release": "H4sIAAAAAAAA"})


def _control_plane(mesh: Mesh, control_plane: ControlPlane) -> Iterator[Body]:
    yield from control_planes.workload(mesh, control_plane).objects()
    revision = control_plane.revision if mesh.era == "istiod" else ""
    suffix = f"-{revision}" if revision not in ("", "default") else ""
    created = mesh.now + mesh.ca.created
    bundle = bundle_pem(mesh, control_plane.ca_bundle)
    labels = {"app": "sidecar-injector", "istio.io/rev": revision} if revision else {"app": "sidecar-injector"}
    istiod = mesh.era == "istiod"
    domain = "sidecar-injector.istio.io"
    yield shapes.webhook(
        "MutatingWebhookConfiguration",
        shapes.meta(f"istio-sidecar-injector{suffix}", "", created, labels=labels),
        f"istiod{suffix}" if istiod else "istio-sidecar-injector",
        mesh.home,
        bundle,
        (f"rev.namespace.{domain}", f"rev.object.{domain}") if istiod else (domain,),
    )
    if istiod:
        yield shapes.webhook(
            "ValidatingWebhookConfiguration",
            shapes.meta(f"istio-validator{suffix}-{mesh.home}", "", created, labels=labels | {"app": "istiod"}),
            f"istiod{suffix}",
            mesh.home,
            bundle,
            ("rev.validation.istio.io",),
        )
        yield _mesh_config(mesh, suffix, created - mesh.now)


def _mesh_config(mesh: Mesh, suffix: str, created: timedelta) -> Body:
    config = {
        "defaultConfig": {"discoveryAddress": f"istiod{suffix}.{mesh.home}.svc:15012"},
        "trustDomain": mesh.trust_domain,
    }
    return shapes.config_map(
        shapes.meta(f"istio{suffix}", mesh.home, mesh.now + created), {"mesh": json.dumps(config, indent=2)}
    )


def _key(body: Body) -> tuple[str, str, str]:
    metadata = body["metadata"]
    return body["kind"], metadata.get("namespace", ""), metadata["name"]

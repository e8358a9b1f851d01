"""What a pretend ztunnel answers on its admin port, in the shapes of its versions."""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING

from sandbox.envoy import Held
from sandbox.issuing import ca_certificate, leaf_certificate, pem
from sandbox.shapes import stamp

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cryptography.x509 import Certificate

    from sandbox.mesh import Identity, Mesh, Proxy
    from sandbox.shapes import Body


def answer(mesh: Mesh, proxy: Proxy, pod: str, path: str, renewed: Mapping[str, Held]) -> Body | None:
    """Give the JSON at a path, whatever its query; None is an unknown path, as all of an Envoy's are here.

    `renewed` is what it holds by now in the place of what is described, by identity.
    """
    return _config_dump(mesh, proxy, pod, renewed) if path == "/config_dump" else None


def identity_of(mesh: Mesh, identity: Identity) -> str:
    return f"spiffe://{mesh.trust_domain}/ns/{identity.namespace}/sa/{identity.account}"


def described(mesh: Mesh, identity: Identity) -> Held:
    roots = tuple(ca_certificate(ca, mesh.now) for ca in (mesh.ca.bundle if identity.holds is None else identity.holds))
    leaf = leaf_certificate(identity.leaf, mesh.ca.signer, identity_of(mesh, identity), mesh.now, era=mesh.era)
    between = tuple(ca_certificate(ca, mesh.now) for ca in reversed(mesh.ca.issuers)) if mesh.ca.chain else ()
    return Held(leaf, between, roots, mesh.now + identity.leaf.issued)


def _config_dump(mesh: Mesh, proxy: Proxy, pod: str, renewed: Mapping[str, Held]) -> Body:
    version = _version(proxy.version or mesh.version)
    listed = [_identity(mesh, identity, version, renewed) for identity in proxy.identities]
    words = {"istioVersion": proxy.version or mesh.version, "buildProfile": "release", "version": "e94018b300" * 4}
    return {
        "certificates": sorted(listed, key=lambda one: str(one["identity"])),
        "config": {
            "localNode": "node1",
            "secretTtl": {"nanos": 0, "secs": 86400},
            "ztunnelIdentity": f"spiffe://{mesh.trust_domain}/ns/{proxy.namespace}/sa/{proxy.account or proxy.name}",
            "ztunnelWorkload": {
                "name": pod,
                "namespace": proxy.namespace,
                "serviceAccount": proxy.account or proxy.name,
            },
        },
        "policies": [],
        "services": [],
        "version": words if version >= (1, 22) else _snake(words),
        "workloads": [],
    }


def _identity(mesh: Mesh, identity: Identity, version: tuple[int, ...], renewed: Mapping[str, Held]) -> Body:
    uri = identity_of(mesh, identity)
    held = renewed.get(uri) or described(mesh, identity)
    there = identity.state == "Available"
    leaves, between, roots = ((held.leaf,), held.chain, held.roots) if there else ((), (), ())
    if version < (1, 22):  # the list `ca_cert` held the leaf, and `cert_chain` the rest
        return {
            "identity": uri,
            "state": identity.state,
            "ca_cert": [_snake(_shown(one)) for one in leaves],
            "cert_chain": [_snake(_shown(one)) for one in (*between, *roots[:1])],
        }
    if not _tells_roots(version):  # the root was the last of the chain
        chain = [_shown(one) for one in (*leaves, *between, *roots[:1])]
        return {"identity": uri, "state": identity.state, "certChain": chain}
    return {
        "identity": uri,
        "state": identity.state,
        "certChain": [_shown(one) for one in (*leaves, *between)],
        "rootCerts": [_shown(one) for one in roots],
    }


def _tells_roots(version: tuple[int, ...]) -> bool:
    return version >= (1, 26) or (1, 25, 3) <= version < (1, 26) or (1, 24, 6) <= version < (1, 25)


def _shown(certificate: Certificate) -> Body:
    return {
        "pem": base64.b64encode(pem([certificate]).encode()).decode(),
        "serialNumber": str(certificate.serial_number),
        "validFrom": stamp(certificate.not_valid_before_utc),
        "expirationTime": stamp(certificate.not_valid_after_utc),
    }


def _snake(body: Body) -> Body:
    return {re.sub(r"[A-Z]", lambda letter: f"_{letter[0].lower()}", key): value for key, value in body.items()}


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("."))

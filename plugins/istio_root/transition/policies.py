"""Whether a mesh uses mutual TLS at all: what a change of the root can touch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshtrust.errors import Unseen
from meshtrust.mesh import Era, Mesh, Proxy
from meshtrust.objects import KubeObject

if TYPE_CHECKING:
    from collections.abc import Iterator

    from meshtrust.source import Source

_MUTUAL = frozenset({"ISTIO_MUTUAL", "MUTUAL"})


def uses_mutual_tls(source: Source, mesh: Mesh, proxies: tuple[Proxy, ...]) -> bool | None:
    """None where nobody may see it. With istiod sidecars speak it by themselves (autoMtls), before only where asked."""
    try:
        if mesh.era is not Era.CITADEL:
            return _enabled(source, mesh)
        return any(one.secures_control_plane for one in proxies) or _asked_for(source)
    except Unseen:
        return None


def _enabled(source: Source, mesh: Mesh) -> bool:
    """Only a policy for the whole mesh switches it off, and any other one may switch it on again."""
    modes = {found.ref: _mode(found) for found in _read(source, "PeerAuthentication")}
    of_mesh = {mode for ref, mode in modes.items() if ref.namespace == mesh.namespace}
    others = {mode for ref, mode in modes.items() if ref.namespace != mesh.namespace}
    return "DISABLE" not in of_mesh or bool(others - {"DISABLE", ""})


def _asked_for(source: Source) -> bool:
    policies = (found for kind in ("MeshPolicy", "Policy") for found in _read(source, kind))
    if any("mtls" in peer for found in policies for peer in (found.body.get("spec") or {}).get("peers") or ()):
        return True
    rules = (found.body.get("spec") or {} for found in _read(source, "DestinationRule"))
    return any(((rule.get("trafficPolicy") or {}).get("tls") or {}).get("mode") in _MUTUAL for rule in rules)


def _mode(found: KubeObject) -> str:
    mode = ((found.body.get("spec") or {}).get("mtls") or {}).get("mode")
    return mode if isinstance(mode, str) else ""


def _read(source: Source, kind: str) -> Iterator[KubeObject]:
    return (found for found in source.objects(kind) if isinstance(found, KubeObject))

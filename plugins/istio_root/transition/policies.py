"""Whether a mesh uses mutual TLS at all: what a change of the root can touch."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from meshtrust.errors import Unseen
from meshtrust.mesh import Era, Mesh, Proxy, ProxyKind, names
from meshtrust.objects import Unread

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from meshtrust.objects import KubeObject
    from meshtrust.source import Source

_MUTUAL = frozenset({"ISTIO_MUTUAL", "MUTUAL"})
_OFF, _INHERITED = "DISABLE", frozenset({"", "UNSET"})
_AMBIENT = frozenset({ProxyKind.ZTUNNEL, ProxyKind.WAYPOINT})
# In YAML and JSON alike: the whole text is not parsed for it.
_ROOT_NAMESPACE = re.compile(r"""\brootNamespace["']?[ \t]*:[ \t]*["']?([a-z0-9][a-z0-9-]*)""")
_AUTH_POLICY = "MUTUAL_TLS"
_TELLING = {
    Era.ISTIOD: ("PeerAuthentication", "DestinationRule"),
    Era.CITADEL: ("MeshPolicy", "Policy", "DestinationRule"),
}


def uses_mutual_tls(source: Source, mesh: Mesh, proxies: tuple[Proxy, ...]) -> bool | None:
    """None where it was not seen; where it is not sure, it is used. With istiod sidecars speak it by themselves.

    A recording that lacks one of the kinds that tell cannot say that nobody asks for it.
    """
    era = mesh.era or Era.ISTIOD
    try:
        used = _asked_for(source, mesh, proxies) if era is Era.CITADEL else _left_on(source, mesh, proxies)
    except Unseen:
        return None
    seen = bool(proxies) and all(source.holds(kind) for kind in _TELLING[era])
    return used if used or seen else None


def _left_on(source: Source, mesh: Mesh, proxies: tuple[Proxy, ...]) -> bool:
    """Only a policy for the whole mesh switches it off; whatever else asks for it switches it on again.

    As pilot/pkg/model/authentication.go has it: it stands in the root namespace, and selects no workloads. A ztunnel
    knows no plain text between what it serves.
    """
    policies = tuple(_specs(source, "PeerAuthentication"))
    of_mesh = {(home, _mode(spec.get("mtls"))) for home, spec in policies if not _narrowed(spec)}
    if (mesh.namespace, _OFF) not in of_mesh or any(one.kind in _AMBIENT for one in proxies):
        return True
    roots = {mesh.namespace, *_roots(source, mesh)}
    # An UNSET one of the whole mesh is PERMISSIVE; of several the oldest counts, and here whichever has it on.
    if any({mode for home, mode in of_mesh if home == root} != {_OFF} for root in roots):
        return True
    asked = {mode for _, spec in policies for mode in _modes(spec)}
    return bool(asked - _INHERITED - {_OFF}) or _sent(source)


def _roots(source: Source, mesh: Mesh) -> Iterator[str]:
    """Where policies for the whole mesh stand, if that is said to be another namespace than the control plane's."""
    return (name for text in _configured(source, mesh) for name in _ROOT_NAMESPACE.findall(text))


def _asked_for(source: Source, mesh: Mesh, proxies: tuple[Proxy, ...]) -> bool:
    """With Citadel it is used only where it is asked for: by who serves, who calls, or (Istio 1.0) for all at once."""
    policies = (spec for kind in ("MeshPolicy", "Policy") for _, spec in _specs(source, kind))
    return (
        any(one.secures_control_plane for one in proxies)
        or any("mtls" in peer for spec in policies for peer in spec.get("peers") or ())  # null is STRICT
        or _sent(source)
        or any(_AUTH_POLICY in text for text in _configured(source, mesh))
    )


def _sent(source: Source) -> bool:
    """Whether some caller is told to speak it, whatever those say who are called."""
    return any(not _MUTUAL.isdisjoint(_modes_of_rule(spec)) for _, spec in _specs(source, "DestinationRule"))


def _modes_of_rule(spec: Mapping[str, Any]) -> Iterator[str]:
    for one in (spec, *(spec.get("subsets") or ())):
        policy = one.get("trafficPolicy") or {}
        yield _mode(policy.get("tls"))
        for port in policy.get("portLevelSettings") or ():
            yield _mode(port.get("tls"))


def _modes(spec: Mapping[str, Any]) -> Iterator[str]:
    yield _mode(spec.get("mtls"))
    for port in (spec.get("portLevelMtls") or {}).values():
        yield _mode(port)


def _mode(settings: Mapping[str, Any] | None) -> str:
    return str((settings or {}).get("mode", ""))


def _narrowed(spec: Mapping[str, Any]) -> bool:
    """An empty selector selects all."""
    return bool((spec.get("selector") or {}).get("matchLabels") or spec.get("targetRefs"))


def _configured(source: Source, mesh: Mesh) -> Iterator[str]:
    """The MeshConfig of every revision, as it is written."""
    instances = (instance for authority in mesh.authorities for instance in authority.instances)
    revisions = {instance.revision for instance in instances} - {names.DEFAULT_REVISION}
    for revision in sorted({"", *revisions}):
        name = f"{names.MESH_CONFIG}-{revision}" if revision else names.MESH_CONFIG
        for found in _read(source, "ConfigMap", namespace=mesh.namespace, name=name):
            yield (found.body.get("data") or {}).get(names.MESH_CONFIG_KEY) or ""


def _specs(source: Source, kind: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The namespace and the spec of each object."""
    return ((found.ref.namespace, found.body.get("spec") or {}) for found in _read(source, kind))


def _read(source: Source, kind: str, *, namespace: str = "", name: str = "") -> Iterator[KubeObject]:
    """Raises `Unseen` where one of them, or all, cannot be read."""
    for found in source.objects(kind, namespace=namespace, name=name):
        if isinstance(found, Unread):
            raise Unseen(f"{found.ref}: {found.why}")
        yield found

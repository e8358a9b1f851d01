"""Every proxy that is judged, and what it is held against: gathered once, before any judgement."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from istio_proxyver.telling import tell_versions
from meshtrust.errors import ToolError
from meshtrust.mesh import Gap, Proxy, ProxyKind, Sight, control_planes_of, names, read_proxies
from meshtrust.mesh.look import Look
from meshtrust.objects import Ref
from meshtrust.versions import LOSES_ROOTS, ZTUNNEL_BUNDLES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from meshtrust.source import Scope, Source

_CORES = ("app=istiod", "istio in (pilot,citadel,galley,sidecar-injector,mixer)")


@dataclass(frozen=True, slots=True)
class Fleet:
    """What was read.

    proxies: what is judged, in the order of namespace and name, parts of the control plane among them
    core: all that stands in the control plane's pods, whatever is judged: its parts, and the proxies beside them
    bundles: the control planes' namespaces whose published trust bundle holds several roots
    """

    proxies: tuple[Proxy, ...]
    core: tuple[Proxy, ...]
    bundles: frozenset[str] = frozenset()
    gaps: tuple[Gap, ...] = ()
    not_asked: frozenset[Sight] = frozenset()
    remarks: tuple[str, ...] = ()

    @property
    def planes(self) -> tuple[Proxy, ...]:
        """What proxies are held against: istiod or Pilot, those that run where any does."""
        parts = [one for one in self.core if one.kind is ProxyKind.CONTROL_PLANE]
        hands_out = [one for one in parts if one.container == names.ISTIOD_CONTAINER] or parts
        return tuple([one for one in hands_out if one.running] or hands_out)


def read_fleet(source: Source, scope: Scope, selector: str) -> Fleet:
    """Read the proxies of a source, and ask for the versions that their images do not tell.

    Raises ToolError where there is nothing of Istio, `Unreachable` where the first question had no answer.
    """
    look = Look(source)
    look.gaps += [Gap(file.ref, Sight.PROXIES, file.why) for file in source.unread]
    found = read_proxies(look, scope.namespace, selector)
    core = _core_of(found) if not scope.namespace and not selector else _read_core(look, scope)
    proxies, core = _of_scope(found, core, scope)
    if not proxies and not look.gaps:
        raise _nothing_found(scope, selector)
    everyone = {(one.ref, one.container): one for one in (*proxies, *core)}
    told = tell_versions(source, tuple(everyone.values()))
    if told.proxies:
        everyone |= {(one.ref, one.container): one for one in told.proxies}
        proxies, core = (tuple(everyone[one.ref, one.container] for one in some) for some in (proxies, core))
    seen = bool(core) or any(gap.sight in {Sight.PROXIES, Sight.SETTINGS} for gap in look.gaps)
    return Fleet(
        proxies=proxies,
        core=core,
        bundles=_bundles(look, proxies, core),
        gaps=(*look.gaps, *told.gaps),
        not_asked=frozenset() if seen else frozenset({Sight.SETTINGS}),
        remarks=(*look.remarks, *(() if seen else (_OUTSIDE,))),
    )


_OUTSIDE = "no control plane is seen here: no version is held against its"


def _core_of(found: Iterable[Proxy]) -> tuple[Proxy, ...]:
    everyone = tuple(found)
    pods = {one.ref for one in everyone if one.kind is ProxyKind.CONTROL_PLANE}
    return tuple(one for one in everyone if one.ref in pods)


def _read_core(look: Look, scope: Scope) -> tuple[Proxy, ...]:
    """What is judged has been narrowed: the control plane is looked for by its own labels, wherever it stands."""
    apart = Look(look.source)
    found = [one for labels in _CORES for one in read_proxies(apart, scope.istio_namespace, labels)]
    look.gaps += dict.fromkeys(replace(gap, sight=Sight.SETTINGS) for gap in apart.gaps)
    look.remarks += dict.fromkeys(apart.remarks)
    return _core_of(dict.fromkeys(found))


def _of_scope(
    found: tuple[Proxy, ...], core: tuple[Proxy, ...], scope: Scope
) -> tuple[tuple[Proxy, ...], tuple[Proxy, ...]]:
    """Leave out what belongs to another control plane than the one that was asked for (-i, -r)."""
    if scope.istio_namespace:
        core = tuple(one for one in core if one.ref.namespace == scope.istio_namespace)
        found = tuple(one for one in found if one.home in {"", scope.istio_namespace})
    if not scope.revision:
        return found, core
    parts = tuple(one for one in core if one.kind is ProxyKind.CONTROL_PLANE)
    wanted = {scope.revision} | ({""} if scope.revision == names.DEFAULT_REVISION else set())
    chosen = frozenset(one for one in parts if one.revision in wanted)
    if parts and not chosen:
        known = ", ".join(sorted({one.revision or "one without a revision" for one in parts}))
        raise ToolError(f"no control plane of revision {scope.revision} is there", f"there is {known}")
    pods = {one.ref for one in chosen}

    def belongs(one: Proxy) -> bool:
        if one.kind is ProxyKind.CONTROL_PLANE or not parts:
            return one.revision in wanted
        return not chosen.isdisjoint(control_planes_of(one, parts))

    return tuple(one for one in found if belongs(one)), tuple(one for one in core if one.ref in pods)


def _bundles(look: Look, proxies: Iterable[Proxy], core: Iterable[Proxy]) -> frozenset[str]:
    """Where several roots are published; read only where a release is in use that cannot cope with that."""
    affected = [one for one in proxies if loses_roots(one) is not False or reads_one_root(one) is not False]
    homes = {one.home or home for one in affected for home in ({part.ref.namespace for part in core} or {""})} - {""}
    found = set()
    for home in sorted(homes):
        before = len(look.gaps)
        published = look.one(Sight.COPIES, "ConfigMap", home, names.ROOT_CONFIGMAP)
        if published and len(set(look.certificates(published.ref, look.text(published, names.ROOTS)))) > 1:
            found.add(home)
        if published is None and len(look.gaps) == before:
            look.gaps.append(Gap(Ref("ConfigMap", home, names.ROOT_CONFIGMAP), Sight.COPIES, "it is not there"))
    return frozenset(found)


def loses_roots(proxy: Proxy) -> bool | None:
    """Say whether this is an istiod that hands out one root of several; None where its version is not known."""
    if proxy.kind is not ProxyKind.CONTROL_PLANE or proxy.container != names.ISTIOD_CONTAINER:
        return False
    return (proxy.version.exact and proxy.version in LOSES_ROOTS) if proxy.version else None


def reads_one_root(proxy: Proxy) -> bool | None:
    """Say whether this is a ztunnel that takes the first root of several; None where its version is not known."""
    if proxy.kind is not ProxyKind.ZTUNNEL:
        return False
    return not proxy.version.has(ZTUNNEL_BUNDLES) if proxy.version else None


def _nothing_found(scope: Scope, selector: str) -> ToolError:
    where = f"namespace {scope.namespace}" if scope.namespace else "all namespaces"
    labels = f" with the labels {selector}" if selector else ""
    return ToolError(
        f"no proxy found: looked at the pods of {where}{labels}",
        "a proxy is a container istio-proxy, or one that runs `proxy router`; is this the right cluster?",
    )

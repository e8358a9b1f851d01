"""From a source to meshes: one for each control-plane namespace."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from meshtrust.errors import ToolError
from meshtrust.mesh import names
from meshtrust.mesh.authorities import Stored, choose, read_stored
from meshtrust.mesh.copies import configmap_names, read_copies
from meshtrust.mesh.instances import find_instances
from meshtrust.mesh.look import Look
from meshtrust.mesh.model import Anchor, Authority, Copy, Era, Gap, Instance, Kind, Mesh, Role, Sight
from meshtrust.objects import Ref

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from meshtrust.source import Scope, Source


def read_meshes(source: Source, scope: Scope) -> tuple[Mesh, ...]:
    """Read every mesh of a source.

    Raises ToolError where there is no Istio, or where nothing of it may be seen; `Unreachable` where the first
    question had no answer. Whatever else stays unseen is a `Gap` of its mesh.
    """
    look = Look(source)
    look.gaps += [Gap(file.ref, sight, file.why) for file in source.unread for sight in (Sight.CA, Sight.COPIES)]
    everyone = find_instances(look, scope.istio_namespace)
    judged = _chosen(look, everyone, scope) or _homes_of_secrets(look, scope)
    homes = {instance.ref.namespace for instance in everyone} | judged
    copies = read_copies(look, everyone, homes, scope.namespace)
    held = {copy.ref.namespace for copy in copies}
    judged = judged or held.intersection(names.HOMES)
    if not judged or not (everyone or _stands_there(look, judged, held)):
        raise _nothing_found(look, copies)
    meshes = [_read_mesh(look, home, everyone, copies, scope) for home in sorted(judged)]
    return tuple(
        replace(
            mesh,
            copies=own,
            taken=_namespaces(copies, own) | (homes - {mesh.namespace}),
            neighbours=tuple(one for one in everyone if one.ref.namespace != mesh.namespace),
            theirs=_keys_at(homes - {mesh.namespace}, copies),
            searched=look.searched,
        )
        for mesh, own in zip(meshes, _shared_out(meshes, homes, copies), strict=True)
    )


def _keys_at(homes: Iterable[str], copies: tuple[Copy, ...]) -> frozenset[bytes]:
    """The keys of the roots that the control planes of these namespaces publish."""
    return frozenset(c.key_bytes for home in homes for copy in _published(copies, home) for c in copy.certificates)


def _namespaces(copies: tuple[Copy, ...], own: tuple[Copy, ...]) -> frozenset[str]:
    """Where the copies of others are; a ClusterTrustBundle is nowhere."""
    mine = {copy.ref for copy in own}
    return frozenset(copy.ref.namespace for copy in copies if copy.ref.namespace and copy.ref not in mine)


def _chosen(look: Look, everyone: tuple[Instance, ...], scope: Scope) -> set[str]:
    """The namespaces of the control planes that are asked for. Raises ToolError where one that is named is missing."""
    homes = {i.ref.namespace for i in everyone}
    if scope.istio_namespace and everyone and scope.istio_namespace not in homes:
        raise ToolError(
            f"no control plane is in namespace {scope.istio_namespace}", f"there is one in {_listed(homes)}"
        )
    homes &= {scope.istio_namespace} if scope.istio_namespace else homes
    if not scope.revision:
        return homes
    there = {i.ref.namespace for i in everyone if _is_of(i, scope.revision)} & homes
    if not there:
        known = {i.revision or "one without a revision" for i in everyone if i.ref.namespace in homes}
        why = look.gaps[0].why if look.gaps else "none at all"
        raise ToolError(f"no control plane of revision {scope.revision} is there", f"there is {_listed(known) or why}")
    return there


def _is_of(instance: Instance, revision: str) -> bool:
    return (instance.revision or names.DEFAULT_REVISION) == revision


def _listed(words: Iterable[str]) -> str:
    return ", ".join(sorted(words))


def _stands_there(look: Look, homes: Iterable[str], held: set[str]) -> bool:
    """Whether a namespace that nothing runs in has anything of a mesh: a CA's Secret, or a published root."""
    named = ((home, name) for home in homes for name in (names.CA_SECRET, names.CACERTS))
    return not held.isdisjoint(homes) or any(look.one(Sight.CA, "Secret", home, name) for home, name in named)


def _homes_of_secrets(look: Look, scope: Scope) -> set[str]:
    """Where no control plane was seen, its Secrets tell where it stood."""
    if scope.istio_namespace:
        return {scope.istio_namespace}
    if scope.public:
        return set()
    places = ("",) if look.source.recorded else names.HOMES
    return {
        secret.ref.namespace
        for name in (names.CA_SECRET, names.CACERTS)
        for place in places
        for secret in look.objects(Sight.CA, "Secret", namespace=place, name=name)
    }


def _nothing_found(look: Look, copies: tuple[Copy, ...]) -> ToolError:
    if look.gaps:
        return ToolError(f"no Istio could be seen: {look.gaps[0].why}", "-i names the namespace of its control plane")
    if copies:
        held = len({copy.ref.namespace for copy in copies})
        return ToolError(
            f"no control plane found, though {held} namespaces hold its root: it stands outside this cluster",
            "-i names the namespace where it would stand",
        )
    return ToolError(
        "no Istio found: looked for pods and Deployments with app=istiod or istio=citadel in all namespaces, for the "
        f"Secrets {names.CA_SECRET} and {names.CACERTS}, and for ConfigMaps {names.ROOT_CONFIGMAP}",
        "is this the right cluster?",
    )


def _read_mesh(
    shared: Look, home: str, instances: tuple[Instance, ...], copies: tuple[Copy, ...], scope: Scope
) -> Mesh:
    """Read what belongs to one control plane alone; `shared` is what was seen for all of them."""
    look = Look(shared.source)
    own = tuple(i for i in instances if i.ref.namespace == home)
    published = _published(copies, home)
    stored = Stored(seen=False) if scope.public else _read_stored(look, home)
    choice = choose(look, home, own, stored, tuple(c for copy in published for c in copy.certificates))
    asked = tuple(
        authority
        for authority in choice.authorities
        if not scope.revision or any(_is_of(instance, scope.revision) for instance in authority.instances)
    )
    istiod = not own or any(i.era is Era.ISTIOD for i in own)
    internal = any(authority.kind is not Kind.EXTERNAL for authority in choice.authorities)
    # A recording without any pod says nothing of the control plane; everything else that finds none has looked.
    unrecorded = not own and shared.source.recorded and not shared.source.holds("Pod")
    if not own and internal and not unrecorded and not shared.gaps:
        look.gaps.append(Gap(Ref("Pod", home, ""), Sight.SETTINGS, "no istiod and no Citadel runs here"))
    if istiod and not published and not shared.source.holds("ConfigMap"):
        look.gaps.append(Gap(Ref("ConfigMap", home, names.ROOT_CONFIGMAP), Sight.COPIES, _NOT_RECORDED))
    return Mesh(
        namespace=home,
        era=Era.ISTIOD if any(i.era is Era.ISTIOD for i in own) else own[0].era if own else None,
        authorities=tuple(_with_published_roots(authority, published) for authority in asked),
        rivals=tuple(authority for authority in choice.authorities if authority not in asked),
        configmap=configmap_names(own)[0],
        asked=scope.namespace,
        waiting=choice.waiting,
        unused=choice.unused,
        serving=() if scope.public or not istiod else _serving(look, home),
        broken=(*shared.broken, *look.broken),
        exposed=(*shared.source.exposed, *shared.exposed, *look.exposed),
        clock_skew=shared.source.clock_skew,
        gaps=(*shared.gaps, *look.gaps),
        not_asked=frozenset(
            {
                *((Sight.CA, Sight.SERVING) if scope.public else ()),
                *((Sight.CLOCK,) if shared.source.recorded else ()),
                *((Sight.SETTINGS,) if unrecorded else ()),
            }
        ),
        remarks=(*shared.remarks, *look.remarks),
    )


_NOT_RECORDED = "it is not in the recording"


def _read_stored(look: Look, home: str) -> Stored:
    if look.source.holds("Secret"):
        return read_stored(look, home)
    look.gaps.append(Gap(Ref("Secret", home, names.CA_SECRET), Sight.CA, _NOT_RECORDED))
    return Stored(seen=False)


def _published(copies: tuple[Copy, ...], home: str) -> tuple[Copy, ...]:
    """What the control plane itself lives by: the ClusterTrustBundle, or the copies in its namespace."""
    return tuple(c for c in copies if not c.ref.namespace) or tuple(c for c in copies if c.ref.namespace == home)


def _with_published_roots(authority: Authority, published: tuple[Copy, ...]) -> Authority:
    """Of a CA whose Secrets are not here, not seen, or gone, the published roots are all that can be judged."""
    if authority.kind not in {Kind.EXTERNAL, Kind.UNSEEN} and authority.key_ref:
        return authority
    return replace(
        authority,
        roots=tuple(
            Anchor(copy.ref, Role.ROOT, certificate) for copy in published for certificate in copy.certificates
        ),
    )


def _serving(look: Look, home: str) -> tuple[Anchor, ...]:
    """An `istiod-tls` Secret (cert-manager's istio-csr, or the user's own): its leaf, and what stands above it."""
    secret = look.one(Sight.SERVING, "Secret", home, names.SERVING_SECRET)
    text = look.text(secret, names.TLS_SIGNING) if secret else ""
    if secret is None or not text:
        return ()
    place = secret.ref.at(names.TLS_SIGNING)
    return tuple(Anchor(place, Role.SERVING, certificate) for certificate in look.certificates(place, text)[:1])


def _shared_out(meshes: list[Mesh], homes: Iterable[str], copies: tuple[Copy, ...]) -> Iterator[tuple[Copy, ...]]:
    """Give each mesh the copies that are its own: those at its home, and elsewhere those that hold a root of its key.

    Also the control planes that are not judged have theirs. A copy that holds nobody's root is the first mesh's to
    judge, so that it is judged once.
    """
    keys = {home: set(_keys_at((home,), copies)) for home in sorted(homes)}
    for mesh in meshes:
        keys[mesh.namespace] |= {root.certificate.key_bytes for ca in mesh.authorities for root in ca.roots}

    def owner(copy: Copy) -> str:
        if copy.ref.namespace in keys:
            return copy.ref.namespace
        held = {certificate.key_bytes for certificate in copy.certificates}
        return next((home for home, theirs in keys.items() if held & theirs), meshes[0].namespace)

    for mesh in meshes:
        yield tuple(copy for copy in copies if len(keys) == 1 or owner(copy) == mesh.namespace)

"""Which namespaces should have a copy of the root: those that istiod serves, by its version, settings and selectors."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from meshtrust.errors import ToolError
from meshtrust.mesh import (
    Era,
    Gap,
    Instance,
    Look,
    Mesh,
    Place,
    Sight,
    by_trust_bundle,
    names,
    publishes,
    read_places,
    unpublished,
)
from meshtrust.objects import Ref
from meshtrust.selectors import Requirement, Selector
from meshtrust.verification.holding import UNSURE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from meshtrust.source import Scope

_OPERATORS = {"In": "in", "NotIn": "notin", "Exists": "exists", "DoesNotExist": "!"}


def instances_of(mesh: Mesh) -> tuple[Instance, ...]:
    return tuple(instance for authority in mesh.authorities for instance in authority.instances)


def of_istiod(instances: tuple[Instance, ...]) -> tuple[Instance, ...]:
    return tuple(instance for instance in instances if instance.era is Era.ISTIOD)


def with_places(look: Look, meshes: tuple[Mesh, ...], scope: Scope) -> tuple[Mesh, ...]:
    """Say of each copy whether nobody keeps it current, and which are missing."""
    before = len(look.gaps)
    places = read_places(look, scope.namespace)
    whole = len(look.gaps) == before
    if scope.namespace and not places and whole and look.source.holds("Namespace"):
        gap = Gap(Ref("Namespace", "", scope.namespace), Sight.COPIES, f"no namespace {scope.namespace}")
        meshes = tuple(replace(mesh, asked="", gaps=(*mesh.gaps, gap)) for mesh in meshes)
    return tuple(_placed(look, mesh, places, whole=whole) for mesh in meshes)


def _placed(look: Look, mesh: Mesh, places: tuple[Place, ...], *, whole: bool) -> Mesh:
    """Where selectors, or what they select from, were not seen, nobody knows where istiod writes, but at its home."""
    instances, before = instances_of(mesh), len(look.gaps)
    selectors = _selectors(look, mesh, instances)
    found = _with_places(mesh, places, instances, selectors)
    if len(look.gaps) == before and (whole or not selectors):
        return found
    copies = tuple(
        copy if copy.left_behind or copy.ref.namespace in ("", mesh.namespace) else replace(copy, left_behind=UNSURE)
        for copy in found.copies
    )
    return replace(found, copies=copies, asked="", missing=())


def _with_places(
    mesh: Mesh,
    places: tuple[Place, ...],
    instances: tuple[Instance, ...],
    selectors: tuple[Selector, ...],
) -> Mesh:
    """A copy where nobody writes any is a warning at most; where somebody should, a missing one is one too."""
    istiods = tuple(instance for instance in instances if publishes(instance))
    ignored = {place.name: unpublished(place, istiods, selectors) for place in places} if istiods else {}
    copies = tuple(
        replace(copy, left_behind=copy.left_behind or ignored.get(copy.ref.namespace, "")) for copy in mesh.copies
    )
    asked = "" if ignored.get(mesh.asked) else mesh.asked
    return replace(mesh, copies=copies, asked=asked, missing=_missing(mesh, ignored, istiods))


def _missing(mesh: Mesh, ignored: Mapping[str, str], istiods: tuple[Instance, ...]) -> tuple[Ref, ...]:
    """Only where copies are published at all, and seen to be; the one at home is `copies-agree`'s."""
    seen = not any(gap.sight is Sight.COPIES for gap in mesh.gaps)
    if not istiods or not seen or by_trust_bundle(istiods) or any(not copy.ref.namespace for copy in mesh.copies):
        return ()
    held = mesh.taken.union({mesh.namespace}, (copy.ref.namespace for copy in mesh.copies))
    name = istiods[0].env.get(names.ROOT_CONFIGMAP_NAME) or names.ROOT_CONFIGMAP
    return tuple(Ref("ConfigMap", place, name) for place, why in ignored.items() if not why and place not in held)


def _selectors(look: Look, mesh: Mesh, instances: tuple[Instance, ...]) -> tuple[Selector, ...]:
    """The discoverySelectors of every revision; none where one of them selects everything."""
    found: list[Selector] = []
    for revision in sorted({instance.revision for instance in of_istiod(instances)}):
        name = names.MESH_CONFIG if revision in ("", names.DEFAULT_REVISION) else f"{names.MESH_CONFIG}-{revision}"
        config = look.one(Sight.NAMESPACES, "ConfigMap", mesh.namespace, name)
        selectors = _read_selectors(look, config.ref, look.text(config, names.MESH_CONFIG_KEY)) if config else ()
        if not selectors:
            return ()
        found += selectors
    return tuple(found)


def _read_selectors(look: Look, place: Ref, text: str) -> tuple[Selector, ...]:
    if names.DISCOVERY_SELECTORS not in text:
        return ()
    from meshtrust.manifests.documents import documents  # noqa: PLC0415 - few meshes have any, and YAML costs

    try:
        (config,) = documents(text.encode())
        listed = config.get(names.DISCOVERY_SELECTORS) or ()
        return tuple(_selector(one) for one in listed)
    except (ToolError, ValueError, AttributeError, KeyError, TypeError):
        look.gaps.append(
            Gap(place.at(names.MESH_CONFIG_KEY), Sight.NAMESPACES, "its discoverySelectors are not readable")
        )
        return ()


def _selector(one: Mapping[str, Any]) -> Selector:
    """A LabelSelector as objects have it (matchLabels, matchExpressions)."""
    equal = [Requirement(key, "in", (value,)) for key, value in (one.get("matchLabels") or {}).items()]
    more = [
        Requirement(term["key"], _OPERATORS[term["operator"]], tuple(term.get("values") or ()))
        for term in one.get("matchExpressions") or ()
    ]
    return Selector((*equal, *more))

"""The published copies of the trust bundle: what proxies and users are handed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshtrust.mesh import names
from meshtrust.mesh.instances import switch
from meshtrust.mesh.model import Copy, Era, Gap, Instance, Sight

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from meshtrust.mesh.look import Look
    from meshtrust.objects import KubeObject


def read_copies(look: Look, instances: tuple[Instance, ...], homes: Iterable[str], namespace: str) -> tuple[Copy, ...]:
    """Read every copy in the cluster once, whoever's it is; with a namespace, only the one there and those at home."""
    istiods = tuple(i for i in instances if i.era is Era.ISTIOD)
    # An API server without the kind costs a refusal for each of its versions: asked for only where istiod uses it.
    switched = any(switch(i, names.CLUSTER_TRUST_BUNDLES, default=False) is not False for i in istiods)
    bundles = tuple(_trust_bundles(look)) if switched or not instances else ()
    maps: Iterable[KubeObject] = ()
    if istiods or not instances:
        look.gaps += [
            Gap(i.ref, Sight.COPIES, f"{names.ROOT_CONFIGMAP_NAME} comes from elsewhere (valueFrom)")
            for i in istiods
            if i.env.get(names.ROOT_CONFIGMAP_NAME, "") is None
        ]
        wanted = configmap_names(istiods)
        maps = (found for name in wanted for found in _configmaps(look, name, sorted(homes), namespace))
    beside = "nobody writes it beside a ClusterTrustBundle" if bundles else ""
    return (*bundles, *_copies(look, maps, left_behind=beside), *_citadel(look, instances))


def configmap_names(instances: Iterable[Instance]) -> tuple[str, ...]:
    """How the copies of these control planes are called; mostly they all use the one name."""
    given = {i.env.get(names.ROOT_CONFIGMAP_NAME) or names.ROOT_CONFIGMAP for i in instances if i.era is Era.ISTIOD}
    return tuple(sorted(given)) or (names.ROOT_CONFIGMAP,)


def _trust_bundles(look: Look) -> Iterator[Copy]:
    for found in look.objects(Sight.COPIES, "ClusterTrustBundle", name=names.TRUST_BUNDLE):
        place = found.ref.at("spec.trustBundle")
        yield Copy(place, look.certificates(place, found.body.get("spec", {}).get("trustBundle", "")))


def _configmaps(look: Look, name: str, homes: Iterable[str], namespace: str) -> Iterator[KubeObject]:
    """All namespaces in one list; where that is refused, at least the copy that the control plane lives by."""
    before = len(look.gaps)
    if not namespace:
        yield from look.objects(Sight.COPIES, "ConfigMap", name=name)
    if namespace or len(look.gaps) > before:
        for place in sorted({*homes, *((namespace,) if namespace else ())}):
            yield from look.objects(Sight.COPIES, "ConfigMap", namespace=place, name=name)


def _copies(look: Look, maps: Iterable[KubeObject], *, left_behind: str) -> Iterator[Copy]:
    for found in maps:
        place = found.ref.at(names.ROOTS)
        alone = "istiod leaves this namespace alone" if found.ref.namespace in names.UNPUBLISHED else ""
        yield Copy(place, look.certificates(place, look.text(found, names.ROOTS)), left_behind or alone)


def _citadel(look: Look, instances: Iterable[Instance]) -> Iterator[Copy]:
    """Citadel publishes to its node agents, in its own namespace; an istiod that came after it leaves that alone."""
    homes = {i.ref.namespace for i in instances} - {i.ref.namespace for i in instances if i.era is Era.ISTIOD}
    for home in sorted(homes):
        for found in look.objects(Sight.COPIES, "ConfigMap", namespace=home, name=names.CITADEL_CONFIGMAP):
            if not (encoded := look.text(found, names.CITADEL_ROOT)):
                continue  # the ConfigMap has other uses: no node agents, no root in it
            place = found.ref.at(names.CITADEL_ROOT)
            yield Copy(place, look.certificates(place, look.decoded(place, encoded)))

"""Where istiod publishes the root: which namespaces, and which webhooks it patches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from meshtrust.certificates import Certificate, parse_pem
from meshtrust.mesh import names
from meshtrust.mesh.model import Copy, Era, Instance, Place, Sight
from meshtrust.octets import from_base64
from meshtrust.versions import KEEPS_KUBE_SYSTEM, SKIPS_NAMESPACES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from meshtrust.mesh.look import Look
    from meshtrust.objects import KubeObject, Ref
    from meshtrust.selectors import Selector

WEBHOOK_KINDS = ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration")


def read_places(look: Look, namespace: str) -> tuple[Place, ...]:
    """Every namespace, or one."""
    return tuple(
        Place(found.ref.name, found.labels, bool(found.body["metadata"].get("deletionTimestamp")))
        for found in look.objects(Sight.NAMESPACES, "Namespace", name=namespace)
    )


def unpublished(place: Place, istiods: Iterable[Instance], selectors: tuple[Selector, ...]) -> str:
    """Say why istiod keeps no copy of the root in a namespace, or nothing where it should.

    Of several versions one that leaves it alone is enough: only the leader writes, and which one leads is not asked.
    """
    if place.ending:
        return "the namespace is being deleted"
    versions = [instance.version for instance in istiods]
    if place.name in names.UNPUBLISHED and any(v is None or v.has(SKIPS_NAMESPACES) for v in versions):
        return "istiod leaves this namespace alone"
    if place.name in names.UNPUBLISHED_BEFORE and any(
        v is not None and v.has(SKIPS_NAMESPACES) and not v.has(KEEPS_KUBE_SYSTEM) for v in versions
    ):
        return "istiod before 1.21 leaves this namespace alone"
    watched = {instance.env.get(names.WATCHED_NAMESPACE) or "" for instance in istiods} - {""}
    if watched and place.name not in watched:
        return f"istiod looks into namespace {', '.join(sorted(watched))} alone ({names.WATCHED_NAMESPACE})"
    if selectors and not any(selector.takes(place.labels) for selector in selectors):
        return "the discoverySelectors leave this namespace out: nobody writes it any more"
    return ""


def publishes(instance: Instance) -> bool:
    """Whether an istiod publishes its own root at all: with another provider of its serving certificate it need not."""
    provider = instance.env.get(names.CERTIFICATE_PROVIDER, "")
    return instance.era is Era.ISTIOD and provider in names.ISTIODS_OWN


@dataclass(frozen=True, slots=True)
class Hook:
    """One entry of a webhook configuration that Istio's control plane patches.

    home: the namespace of the service that is called; revision: None where its label is missing
    """

    ref: Ref
    home: str
    revision: str | None
    certificates: tuple[Certificate, ...]


@dataclass(frozen=True, slots=True)
class Hooks:
    """Istio's own entries, and how many call a URL of the user's."""

    patched: tuple[Hook, ...] = ()
    foreign: int = 0


def read_hooks(look: Look) -> Hooks:
    patched: list[Hook] = []
    foreign = 0
    for kind in WEBHOOK_KINDS:
        for found in look.objects(Sight.WEBHOOKS, kind):
            for entry in found.body.get("webhooks") or ():
                if not _is_istios(found, entry):
                    continue
                client = entry.get("clientConfig") or {}
                if client.get("url") or not client.get("service"):
                    foreign += 1
                    continue
                place = found.ref.at(entry.get("name", ""))
                patched.append(
                    Hook(
                        place,
                        client["service"].get("namespace", ""),
                        found.labels.get(names.REVISION),
                        _bundle(look, place, client.get("caBundle") or ""),
                    )
                )
    return Hooks(tuple(patched), foreign)


def _is_istios(found: KubeObject, entry: Mapping[str, Any]) -> bool:
    """As istiod itself tells them (pkg/webhooks): the injector's by their names, the validator's by their label."""
    name = entry.get("name", "")
    if found.ref.kind == WEBHOOK_KINDS[0]:
        return bool(name.endswith(names.INJECTOR_ENTRY))
    return names.REVISION in found.labels or bool(name.endswith(names.ISTIO_ENTRY))


def _bundle(look: Look, place: Ref, encoded: str) -> tuple[Certificate, ...]:
    try:
        text = from_base64(encoded).decode(errors="replace")
    except ValueError:
        return ()
    return look.certificates(place, text) if text.strip() else parse_pem("").certificates


def hooks_of(
    home: str, homes: Iterable[str], hooks: Hooks, instances: tuple[Instance, ...], rivals: Iterable[Instance] = ()
) -> Iterator[Copy]:
    """What one control plane patches; the first of all `homes` takes those of a control plane that is gone as well.

    Without any homes, nobody else's are looked at, and never those of the `rivals` that run beside it.

    A revision that runs nowhere leaves its webhooks behind: nobody patches them, and nobody answers them.
    """
    known = sorted(homes)
    running = {_revision(instance) for instance in instances}
    others = {_revision(instance) for instance in rivals} - running
    for hook in hooks.patched:
        if hook.home != home and not (known and hook.home not in known and home == known[0]):
            continue
        if hook.home == home and hook.revision in others:
            continue
        gone = hook.home not in (known or [home]) or (hook.revision is not None and hook.revision not in running)
        orphan = f"an orphan: no istiod of revision {hook.revision or 'its'} runs" if instances and gone else ""
        yield Copy(hook.ref, hook.certificates, orphan)


def _revision(instance: Instance) -> str:
    return instance.revision or names.DEFAULT_REVISION

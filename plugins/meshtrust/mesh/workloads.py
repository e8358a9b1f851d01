"""What Citadel keeps for the workloads: a Secret for each ServiceAccount of the namespaces that it serves."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from meshtrust.certificates import Bundle, parse_leaf
from meshtrust.mesh import names
from meshtrust.mesh.model import Instance, Place, Sight, WorkloadCertificate
from meshtrust.octets import from_base64
from meshtrust.versions import SERVES_BY_LABEL

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from meshtrust.mesh.look import Look

_NO, _YES = frozenset({"false", "False", "FALSE", "0", "f", "F"}), frozenset({"true", "True", "TRUE", "1", "t", "T"})


def read_workloads(look: Look, namespace: str) -> Iterator[WorkloadCertificate]:
    """Each of them as it comes: there may be ten thousand, and nobody keeps them."""
    for found in look.objects(Sight.WORKLOADS, "WorkloadSecret", namespace=namespace):
        held: Mapping[str, Any] = found.body.get("data") or {}
        roots, chain = _bundle(held.get(names.ROOTS) or ""), _chain(held.get(names.CHAIN) or "")
        broken = [f"{key}: {why}" for key, part in ((names.ROOTS, roots), (names.CHAIN, chain)) for why in part.broken]
        account = found.annotations.get(names.ACCOUNT_ANNOTATION, "")
        yield WorkloadCertificate(found.ref, account, roots.certificates, chain.certificates, tuple(broken))


@lru_cache(maxsize=64)  # all of them hold the same few
def _bundle(encoded: str) -> Bundle:
    return _chain(encoded)


def _chain(encoded: str) -> Bundle:
    try:
        return parse_leaf(from_base64(encoded).decode(errors="replace"))
    except ValueError:
        return Bundle(broken=("not base64",))


def serving(place: Place, citadels: Iterable[Instance]) -> tuple[str, ...]:
    """The homes of those Citadels that keep Secrets in a namespace: more than one may."""
    return tuple(dict.fromkeys(citadel.ref.namespace for citadel in citadels if not _unserved(place, citadel)))


def unserved(place: Place, citadels: Iterable[Instance]) -> str:
    """Say why no Citadel keeps Secrets in a namespace, or nothing where one does."""
    why = [_unserved(place, citadel) for citadel in citadels]
    return "" if not all(why) else why[0] if why else "no Citadel runs"


def claimed(place: Place) -> str:
    """The home of the Citadel that a namespace is labelled for, whether that runs or not."""
    override = place.labels.get(names.CITADEL_OVERRIDE, "")
    return "" if override in _YES | _NO else place.labels.get(names.CITADEL_HOME, "")


def _unserved(place: Place, citadel: Instance) -> str:
    if _given(citadel, (names.CITADEL_SERVES_ONLY,)) not in (None, *_NO):
        return f"Citadel writes no Secrets ({names.CITADEL_SERVES_ONLY})"
    if place.ending:
        return "the namespace is being deleted"
    only = _given(citadel, names.CITADEL_ONLY_IN) or ""
    if only and place.name not in only.split(","):
        return f"Citadel listens only in {only}"
    if citadel.version is not None and not citadel.version.has(SERVES_BY_LABEL):
        return ""
    return _left_out(place, citadel)


def _left_out(place: Place, citadel: Instance) -> str:
    """The labels of 1.3 and 1.4 (workloadsecret.go): the override, then whose namespace it is, then the default."""
    override, home = place.labels.get(names.CITADEL_OVERRIDE, ""), place.labels.get(names.CITADEL_HOME, "")
    if override in _YES:
        return ""
    if override in _NO:
        return f"Citadel leaves it alone ({names.CITADEL_OVERRIDE}={override})"
    if home:
        return "" if home == citadel.ref.namespace else f"it belongs to the Citadel of {home} ({names.CITADEL_HOME})"
    if (citadel.env.get(names.CITADEL_BY_DEFAULT) or "true") in _NO:
        return f"Citadel leaves it alone ({names.CITADEL_BY_DEFAULT}=false)"
    return ""


def _given(citadel: Instance, spellings: tuple[str, ...]) -> str | None:
    """The value of an argument, `true` for one without; None where it is not given."""
    given = [argument.partition("=") for argument in citadel.arguments]
    values = [value if equals else "true" for name, equals, value in given if name in spellings]
    return values[-1] if values else None

"""The control plane: every running istiod and Citadel, found by its pods."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from meshtrust.durations import parse_go_duration
from meshtrust.errors import NotAllowed
from meshtrust.mesh import names
from meshtrust.mesh.look import moment
from meshtrust.mesh.model import Era, Gap, Instance, Renewal, Sight
from meshtrust.objects import KubeObject, Ref, Unread
from meshtrust.versions import ROTATOR, image_version

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from datetime import timedelta

    from meshtrust.mesh.look import Look

_FALSE = frozenset({"0", "f", "F", "false", "FALSE", "False"})  # Go's strconv.ParseBool
_TRUE = frozenset({"1", "t", "T", "true", "TRUE", "True"})


@dataclass(frozen=True, slots=True)
class _Program:
    era: Era
    labels: Mapping[str, str]
    container: str


_PROGRAMS = (
    _Program(Era.ISTIOD, names.ISTIOD, names.ISTIOD_CONTAINER),
    _Program(Era.CITADEL, names.CITADEL, names.CITADEL_CONTAINER),
)


def find_instances(look: Look, namespace: str) -> tuple[Instance, ...]:
    """Find every instance in all namespaces; where that list is refused, in the one that is named.

    Where none is named either, the usual homes are looked at, and that is remarked.
    """
    try:
        return _instances(look, "")
    except NotAllowed as refused:
        look.searched = ()
        found = tuple(_at(look, (namespace,) if namespace else names.HOMES))
        if namespace:
            if not found:
                look.gaps.append(Gap(Ref("Pod", namespace, ""), Sight.SETTINGS, refused.message))
        elif found:
            look.remarks.append(f"{refused.message}: looked only in {', '.join(look.searched)} (-i names another)")
        else:
            look.gaps.append(Gap(Ref("Pod", namespace, ""), Sight.SETTINGS, refused.message))
        return found


def _at(look: Look, homes: Iterable[str]) -> Iterator[Instance]:
    for home in homes:
        try:
            found = _instances(look, home)
        except NotAllowed:
            continue  # the refusal of the whole list stands for it
        look.searched = (*(look.searched or ()), home)
        yield from found


def _instances(look: Look, namespace: str) -> tuple[Instance, ...]:
    """Running pods tell the truth; a Deployment tells what would run where none does (scaled to 0, never started)."""
    for kind in ("Pod", "Deployment"):
        found = tuple(
            instance
            for program in _PROGRAMS
            for item in look.source.objects(kind, namespace=namespace, labels=program.labels)
            if (instance := _instance(look, program, item))
        )
        if found:
            return found
    return ()


def _instance(look: Look, program: _Program, item: KubeObject | Unread) -> Instance | None:
    if isinstance(item, Unread):
        look.gaps.append(Gap(item.ref, Sight.SETTINGS, item.why))
        return None
    if item.body.get("status", {}).get("phase") in {"Succeeded", "Failed"}:
        return None
    if program.era is Era.ISTIOD and item.body["metadata"].get("deletionTimestamp"):
        return None  # it ends; a Citadel works on through its whole grace period
    template = item.body.get("spec", {}).get("template")
    labels = (template.get("metadata", {}).get("labels") or {}) if template else item.labels
    spec = template.get("spec", {}) if template else item.body.get("spec", {})
    container: Mapping[str, Any] = next(
        (c for c in spec.get("containers", ()) if c.get("name") == program.container), {}
    )
    return Instance(
        ref=item.ref,
        era=program.era,
        revision=labels.get(names.REVISION, ""),
        version=image_version(container.get("image", "")),
        env={
            e["name"]: None if "valueFrom" in e else e.get("value", "")
            for e in container.get("env") or ()
            if "name" in e
        },
        arguments=tuple(container.get("args") or ()),
        started=moment(_started(item.body, program.container)),
    )


def _started(body: Mapping[str, Any], container: str) -> str:
    statuses = body.get("status", {}).get("containerStatuses") or ()
    running = (s.get("state", {}).get("running") or {} for s in statuses if s.get("name") == container)
    return next((state.get("startedAt", "") for state in running), "")


def by_trust_bundle(instances: Iterable[Instance]) -> bool:
    """Whether they publish a ClusterTrustBundle, all of them, and so no ConfigMaps."""
    switched = [switch(i, names.CLUSTER_TRUST_BUNDLES, default=False) for i in instances if i.era is Era.ISTIOD]
    return bool(switched) and all(one is True for one in switched)


def switch(instance: Instance, variable: str, *, default: bool) -> bool | None:
    """Read a boolean of the environment as Go does; None where its value comes from elsewhere."""
    value = instance.env.get(variable, "")
    if value is None:
        return None
    return True if value in _TRUE else False if value in _FALSE else default


def signs_for_itself(instance: Instance) -> bool:
    """Citadel's flag; without it Citadel reads the plugged-in files."""
    given = [a for a in instance.arguments if a.partition("=")[0] == names.SELF_SIGNED_ARGUMENT]
    return bool(given) and given[-1].partition("=")[2] not in _FALSE


def renewal(instances: Iterable[Instance]) -> Renewal | None:
    """How these instances renew their own root; None where none of them can (no rotator in that release)."""
    able = [i for i in instances if i.version is None or i.version.has(ROTATOR)]
    if not able:
        return None
    newest = max(able, key=lambda instance: (instance.version is not None, instance.version or image_version(":0.0.0")))
    interval = newest.env.get(names.CHECK_INTERVAL, "")
    share = newest.env.get(names.GRACE_SHARE, "")
    return Renewal(
        # A value that Go cannot read leaves the default in force (pkg/env logs it and goes on).
        interval=None if interval is None else _or_default(parse_go_duration(interval), names.DEFAULT_CHECK_INTERVAL),
        share=None if share is None else int(share) if share.isdecimal() else names.DEFAULT_GRACE_SHARE,
        version=newest.version,
    )


def leaf_life(instances: Iterable[Instance]) -> timedelta:
    """How long the certificates live that these istiods sign, at most.

    Who asks for no time gets the default, whatever the maximum is; who asks for more than the maximum is refused
    (security/pkg/pki/ca/ca.go). A setting that cannot be seen, or that Go cannot read, is taken for its default.
    """
    lives = (
        max(
            _told(one, names.LEAF_LIFE, names.DEFAULT_LEAF_LIFE),
            min(names.AGENTS_LEAF_LIFE, _told(one, names.LONGEST_LEAF_LIFE, names.DEFAULT_LONGEST_LEAF_LIFE)),
        )
        for one in instances
    )
    return max(lives, default=names.DEFAULT_LEAF_LIFE)


def _told(instance: Instance, variable: str, default: timedelta) -> timedelta:
    return _or_default(parse_go_duration(instance.env.get(variable) or ""), default)


def _or_default(value: timedelta | None, default: timedelta) -> timedelta:
    return default if value is None else value

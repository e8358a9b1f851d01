"""The rules for versions: can it take a new root, does it fit its control plane, do its peers keep a bundle."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from istio_proxyver import cures
from istio_proxyver.fleet import Fleet, loses_roots, reads_one_root
from meshtrust.findings import Level, Problem, check
from meshtrust.mesh import Proxy, ProxyKind, RevisionFrom, Sight, control_planes_of, names
from meshtrust.versions import RELOADS_ROOT, WATCHES_FILES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from meshtrust.objects import Ref
    from meshtrust.versions import IstioVersion

_ENVOYS = frozenset({ProxyKind.SIDECAR, ProxyKind.GATEWAY})
_HELD_AGAINST_NOTHING = frozenset({ProxyKind.CONTROL_PLANE, ProxyKind.AGENTGATEWAY})
_BUNDLES = (Sight.PROXIES, Sight.COPIES)


@dataclass(frozen=True, slots=True)
class Demands:
    """What proxies are judged by, beside what is always so."""

    outdated_than: IstioVersion | None = None


def workloads_of_several_versions(fleet: Fleet) -> Mapping[tuple[Ref, str], Mapping[IstioVersion, int]]:
    """How many pods run each version, the newest first, where the containers of one workload have several."""
    first: dict[tuple[Ref, str], IstioVersion] = {}
    several: set[tuple[Ref, str]] = set()
    for one in fleet.proxies:
        key = (one.owner, one.container)
        if one.version and first.setdefault(key, one.version) != one.version:
            several.add(key)
    counts: dict[tuple[Ref, str], Counter[IstioVersion]] = {key: Counter() for key in first if key in several}
    for one in fleet.proxies if several else ():
        if one.version and (one.owner, one.container) in several:
            counts[one.owner, one.container][one.version] += 1
    return {key: dict(sorted(found.items(), reverse=True)) for key, found in counts.items()}


@check(
    "takes-new-root",
    Level.CRITICAL,
    says="every proxy takes a new root while it runs",
    needs=(Sight.PROXIES, Sight.VERSIONS),
    hint=cures.RESTART_AFTER,
)
def takes_new_root(fleet: Fleet, _demands: Demands) -> Iterator[Problem]:
    for one in fleet.proxies:
        version = one.version
        if one.kind not in _ENVOYS or version is None or version.has(RELOADS_ROOT):
            continue
        if version.major == 0:
            yield Problem(
                one.place, f"{version.build} is unsupported: nothing is known of how it takes a root", Level.WARNING
            )
        elif not version.exact:
            yield Problem(
                one.place, f"{version.build} may be one that cannot, and does not say its patch", Level.UNKNOWN
            )
        elif version.has(WATCHES_FILES):
            yield Problem(
                one.place, f"{version.build} does not see a new root: it keeps the old one until it is restarted"
            )
        else:
            yield Problem(one.place, f"{version.build} is too old to count on: it may keep the old root", Level.WARNING)


@check(
    "within-skew",
    Level.WARNING,
    says="every proxy is of its control plane's minor, or of the one before",
    needs=(Sight.PROXIES, Sight.VERSIONS, Sight.SETTINGS, Sight.CONTROL_PLANE_VERSION),
)
def within_skew(fleet: Fleet, _demands: Demands) -> Iterator[Problem]:
    verdicts: dict[object, tuple[str, ...]] = {}
    for one in fleet.proxies:
        if one.kind in _HELD_AGAINST_NOTHING or one.version is None:
            continue
        # Thousands of proxies differ in a handful of these.
        alike = (one.version, one.version.label, one.home, one.revision)
        if alike not in verdicts:
            verdicts[alike] = tuple(_skews(one, fleet.planes))
        found = [fault for fault in verdicts[alike] if fault]
        if found and len(found) == len(verdicts[alike]):
            newer = " newer " in found[0]
            yield Problem(one.place, found[0], hint=cures.UPGRADE_FIRST if newer else cures.renewed(one))
        elif found:
            yield Problem(one.place, f"{found[0]}, if it belongs to that: it does not say its revision", Level.UNKNOWN)


def _skews(one: Proxy, planes: tuple[Proxy, ...]) -> Iterator[str]:
    """What is wrong with its version beside each revision that it may belong to; empty where nothing is."""
    by_revision: dict[str, list[Proxy]] = defaultdict(list)
    for part in control_planes_of(one, planes):
        by_revision[part.revision].append(part)
    for revision, parts in by_revision.items():
        if versions := [part.version for part in parts if part.version]:
            yield _skew(one, versions, f" (revision {revision})" if revision else "")


def _skew(one: Proxy, planes: list[IstioVersion], revision: str) -> str:
    """Beside a control plane that is being upgraded: as new as the newest, as old as suits the oldest."""
    version, oldest, newest = one.version, min(planes), max(planes)
    if version is None:
        return ""
    if version.line > newest.line:
        return f"{version.build} is newer than its control plane, {newest.build}{revision}"
    if version.major < oldest.major or oldest.minor - version.minor > 1:
        return f"{version.build} is more than one minor older than its control plane, {oldest.build}{revision}"
    return ""


@check(
    "control-plane-there",
    Level.WARNING,
    says="every proxy's control plane is there",
    needs=(Sight.PROXIES, Sight.SETTINGS),
    hint=cures.BRING_BACK,
)
def control_plane_there(fleet: Fleet, _demands: Demands) -> Iterator[Problem]:
    planes = tuple(one for one in fleet.core if one.kind is ProxyKind.CONTROL_PLANE)
    verdicts: dict[tuple[str, str], bool] = {}
    for one in fleet.proxies:
        if one.kind is ProxyKind.CONTROL_PLANE:
            continue
        told = (one.home, one.revision)
        if told not in verdicts:
            verdicts[told] = bool(control_planes_of(one, planes))
        if not verdicts[told]:
            revision = f" of revision {one.revision}" if one.revision else ""
            home = f" in {one.home}" if one.home else ""
            # What a user wrote may be a tag, which is another name of a revision.
            level = Level.UNKNOWN if one.revision_from is RevisionFrom.LABEL else None
            yield Problem(one.place, f"no control plane{revision} is there{home}: nobody renews its certificate", level)


@check(
    "new-enough",
    Level.WARNING,
    says="nothing is older than the release that --outdated-than names",
    needs=(Sight.PROXIES, Sight.VERSIONS, Sight.CONTROL_PLANE_VERSION),
)
def new_enough(fleet: Fleet, demands: Demands) -> Iterator[Problem]:
    least = demands.outdated_than
    if least is None:
        return
    # A restart brings the control plane's release, whatever that is.
    helps = any(part.version is None or part.version >= least for part in fleet.planes)
    for one in fleet.proxies:
        if one.version and one.kind is not ProxyKind.AGENTGATEWAY and one.version < least:
            cure = cures.renewed(one)
            yield Problem(
                one.place,
                f"{one.version.build} is older than {least.number}",
                hint=cure if helps or cure == cures.UPGRADE_CHART else cures.UPGRADE_FIRST,
            )


@check(
    "one-version",
    Level.WARNING,
    says="all pods of a workload run one version",
    needs=(Sight.PROXIES, Sight.VERSIONS),
    hint="kubectl rollout status tells whether a rollout is stuck halfway; a restart brings all to one version",
)
def one_version(fleet: Fleet, _demands: Demands) -> Iterator[Problem]:
    for (owner, _), counts in workloads_of_several_versions(fleet).items():
        yield Problem(owner, ", ".join(f"{version.build} in {_pods(count)}" for version, count in counts.items()))


def _pods(count: int) -> str:
    return f"{count} pod{'' if count == 1 else 's'}"


@check(
    "bundle-handed-out",
    Level.CRITICAL,
    says="istiod hands out every root of the bundle",
    needs=_BUNDLES,
    hint=f"{cures.UPGRADE_ISTIOD} (1.24.5, 1.25.2 or newer) before the root is changed; then restart the proxies",
)
def bundle_handed_out(fleet: Fleet, _demands: Demands) -> Iterator[Problem]:
    for one in fleet.proxies:
        if one.ref.namespace in fleet.bundles:
            yield from _about(one, loses_roots(one), "hands out one root alone, and several are published")


def _about(one: Proxy, faulty: bool | None, fault: str) -> Iterator[Problem]:
    """One that does not tell its version may have the fault."""
    if faulty and one.version:
        yield Problem(one.place, f"{one.version.build} {fault}")
    elif faulty is None:
        yield Problem(one.place, f"what nobody tells the version of may be one that {fault}", Level.UNKNOWN)


@check(
    "bundle-read",
    Level.CRITICAL,
    says="every ztunnel reads every root of the bundle",
    needs=_BUNDLES,
    hint=f"{cures.UPGRADE_CHART} (ztunnel 1.24.6, 1.25.3, 1.26.0 or newer) before the root is changed",
)
def bundle_read(fleet: Fleet, _demands: Demands) -> Iterator[Problem]:
    for one in fleet.proxies:
        used = one.home in fleet.bundles if one.home else bool(fleet.bundles)
        if used:
            yield from _about(one, reads_one_root(one), "reads the first root alone, and several are published")


# Citadel's era: its control plane reads mounted certificates, and each part has its own way.


@dataclass(frozen=True, slots=True)
class Pilot:
    """One Pilot of the Citadel era: the page that walks through a root's change asks whether it is 1/1 or 2/2."""

    part: Proxy
    has_proxy: bool
    secured: bool

    @property
    def blind(self) -> bool:
        """Whether it speaks TLS itself, with certificates that it reads once, at its start."""
        return self.secured and not self.has_proxy


def pilots(fleet: Fleet) -> Iterator[Pilot]:
    for part in _parts(fleet, "istio", "pilot"):
        beside = any(one.ref == part.ref and one.kind is ProxyKind.SIDECAR for one in fleet.core)
        yield Pilot(part, beside, secured=_secured(fleet, part.ref.namespace))


def _parts(fleet: Fleet, label: str, value: str) -> Iterator[Proxy]:
    """Parts of a Citadel's control plane: istiod's pods have the label of Pilot, too."""
    homes = {one.ref.namespace for one in fleet.core if one.container == names.CITADEL_CONTAINER}
    for one in fleet.core:
        if one.kind is ProxyKind.CONTROL_PLANE and one.ref.namespace in homes and one.labels.get(label) == value:
            yield one


def _secured(fleet: Fleet, home: str) -> bool:
    """Whether `controlPlaneSecurity` is on: proxies are told, Galley and Pilot have a switch for it."""
    if any("--insecure=false" in part.arguments for part in _parts(fleet, "istio", "galley")):
        return True
    return any(one.secures_control_plane and one.home == home for one in (*fleet.core, *fleet.proxies))


@check(
    "pilot-reloads",
    Level.WARNING,
    says="Pilot and Galley take a new root without a restart (Citadel era)",
    needs=(Sight.PROXIES, Sight.SETTINGS),
    hint=cures.RESTART_PART,
)
def pilot_reloads(fleet: Fleet, _demands: Demands) -> Iterator[Problem]:
    blind = [pilot.part for pilot in pilots(fleet) if pilot.blind]
    for part in blind:
        yield Problem(
            part.place,
            "no proxy beside it (1/1), and controlPlaneSecurity is on: it reads its certificates at its start",
        )
    homes = {part.ref.namespace for part in blind}
    for part in _parts(fleet, "istio", "galley"):
        if part.ref.namespace in homes:
            yield Problem(part.place, "speaks TLS with a Pilot that reads its certificates at its start: before Pilot")


@check(
    "injector-reloads",
    Level.WARNING,
    says="the sidecar injector takes a new certificate without a restart (Citadel era)",
    needs=(Sight.PROXIES, Sight.SETTINGS),
    hint=cures.RESTART_PART,
)
def injector_reloads(fleet: Fleet, _demands: Demands) -> Iterator[Problem]:
    for part in _parts(fleet, "istio", "sidecar-injector"):
        told = part.version if part.version and part.version.exact else None
        yield from _about(
            part, not told.has(RELOADS_ROOT) if told else None, "keeps the certificate that it started with"
        )


CHECKS = (
    takes_new_root,
    within_skew,
    control_plane_there,
    new_enough,
    one_version,
    bundle_handed_out,
    bundle_read,
    pilot_reloads,
    injector_reloads,
)

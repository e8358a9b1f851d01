"""Every proxy and its version, counted and listed, with what is to be done."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from istio_proxyver import cures
from istio_proxyver.checks import CHECKS, Demands, new_enough, pilots, workloads_of_several_versions
from istio_proxyver.fleet import Fleet, read_fleet
from meshtrust.findings import Finding, Level, examine, not_asked
from meshtrust.mesh import Proxy, ProxyKind
from meshtrust.report import Report, Table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from datetime import datetime

    from meshtrust.objects import Ref
    from meshtrust.reading import Reading
    from meshtrust.versions import IstioVersion

_TITLES = ("NAMESPACE", "POD", "KIND", "VERSION", "OWNER", "STATUS", "WHAT-TO-DO")
_WIDE = ("IMAGE", "SOURCE", "REVISION", "END-OF-LIFE", "CONTAINER")
_COUNTED = ("VERSION", "KIND", "NUMBER", "STATUS")
_GROUPS: Mapping[str, tuple[tuple[str, ...], Callable[[_Row], tuple[str, ...]]]] = {
    "version": ((), lambda _row: ()),
    "namespace": (("NAMESPACE",), lambda row: (row.proxy.ref.namespace,)),
    "owner": (("NAMESPACE", "OWNER"), lambda row: (row.proxy.ref.namespace, row.owner or "<none>")),
}


def report(
    reading: Reading,
    selector: str,
    outdated_than: IstioVersion | None,
    by: str,
    support: Mapping[tuple[int, int], str],
) -> Report:
    fleet = read_fleet(reading.source, reading.scope, selector)
    checks = tuple(one for one in CHECKS if one is not new_enough or outdated_than)
    findings = examine((fleet,), Demands(outdated_than), checks)
    rows = tuple(_rows(fleet, findings, support, reading.now))
    shown = tuple(row for row in rows if row.level is not Level.OK)
    return Report(
        tool="istio-proxyver",
        command="versions",
        read_at=reading.now,
        rows=tuple(_facts(row) for row in rows),
        table=Table(_TITLES, tuple(_cells(row) for row in shown)),
        wide=Table((*_TITLES, *_WIDE), tuple((*_cells(row), *_more(row)) for row in rows)),
        findings=findings,
        checked=len(rows),
        remarks=(*reading.remarks, *fleet.remarks, *_remarks(fleet)),
        not_asked=not_asked((fleet,), checks),
        summary=_summary(rows, by),
        commands=tuple(cures.folded(row.restart for row in rows if row.restart)),
        counted=("proxy", "proxies"),
    )


@dataclass(frozen=True, slots=True)
class _Row:
    """A proxy and what became of it.

    version: as it is shown; empty where nobody tells it
    owner: empty for a pod that nothing makes anew
    ends: the end of its release's life, as a date or the begin of one
    """

    proxy: Proxy
    version: str
    owner: str
    level: Level
    cure: str
    restart: str
    ends: str
    ended: bool


def _rows(
    fleet: Fleet, findings: Iterable[Finding], support: Mapping[tuple[int, int], str], now: datetime
) -> Iterator[_Row]:
    verdicts, today = _verdicts(findings), now.strftime("%Y-%m-%d")
    several = workloads_of_several_versions(fleet) if verdicts else {}
    for one in fleet.proxies:
        level, cure = verdicts.get(one.place, _FINE) if verdicts else _FINE
        # Of a workload with several versions, the pods with the newest are as they should be.
        newest = next(iter(several.get((one.owner, one.container), ())), one.version) if several else one.version
        halfway = verdicts.get(one.owner, _FINE)[0] if one.version != newest else Level.OK
        if halfway > level:
            level, cure = halfway, cures.renewed(one)
        ends = support.get(one.version.line, "") if one.version and one.kind is not ProxyKind.AGENTGATEWAY else ""
        yield _Row(
            proxy=one,
            version=one.version.build if one.version else "",
            owner="" if one.owner == one.ref else f"{one.owner.kind}/{one.owner.name}",
            level=level,
            cure=cure,
            restart=cures.restart(one, cure),
            ends=ends,
            ended=bool(ends) and ends < today[: len(ends)],
        )


_FINE = (Level.OK, "")


def _verdicts(findings: Iterable[Finding]) -> Mapping[Ref, tuple[Level, str]]:
    """The worst that is said of each place, and what to do about that."""
    verdicts: dict[Ref, tuple[Level, str]] = {}
    for finding in findings:
        said = [(one.place, finding.level_of(one), one.hint or finding.check.hint) for one in finding.problems]
        said += [(gap.ref, Level.UNKNOWN, "") for gap in finding.unseen]
        for place, level, cure in said:
            if level > verdicts.get(place, _FINE)[0]:
                verdicts[place] = level, cure
    return verdicts


def _facts(row: _Row) -> Mapping[str, Any]:
    one = row.proxy
    return {
        "namespace": one.ref.namespace,
        "pod": one.ref.name,
        "kind": str(one.kind),
        "version": row.version or None,
        "image": one.image or None,
        "owner": row.owner or None,
        "source": str(one.version_from) if one.version else None,
        "level": str(row.level),
        "container": one.container,
        "native": one.native,
        "revision": one.revision or None,
        "node": one.node or None,
        "idle": one.idle or None,
        "end_of_life": row.ends or None,
        "ended": row.ended if row.ends else None,
        "to_do": row.cure or None,
        "restart": row.restart or None,
    }


def _cells(row: _Row) -> tuple[str, ...]:
    one = row.proxy
    return (
        one.ref.namespace,
        one.ref.name,
        str(one.kind),
        row.version or "<unknown>",
        row.owner or "<none>",
        str(row.level),
        row.cure or "-",
    )


def _more(row: _Row) -> tuple[str, ...]:
    one = row.proxy
    ends = f"{row.ends} (ended)" if row.ended else row.ends
    source = str(one.version_from) if one.version else "<none>"
    return (one.image or "<none>", source, one.revision or "<none>", ends or "<unknown>", one.container)


def _summary(rows: Iterable[_Row], by: str) -> Table:
    """A line for each version and kind, the newest first, with the worst of its verdicts."""
    titles, group = _GROUPS[by]
    groups: dict[tuple[tuple[str, ...], str, str], list[_Row]] = defaultdict(list)
    for row in rows:
        groups[group(row), row.version, row.proxy.kind].append(row)
    lines = (
        (*named, version or "<unknown>", str(kind), str(len(found)), str(max(row.level for row in found)))
        for (named, version, kind), found in sorted(groups.items(), key=_newest_first)
    )
    return Table((*titles, *_COUNTED), tuple(lines))


def _newest_first(
    line: tuple[tuple[tuple[str, ...], str, str], list[_Row]],
) -> tuple[tuple[str, ...], tuple[int, ...], str, str]:
    """By group, the newest version first and before it what nobody tells."""
    (group, named, kind), rows = line
    version = rows[0].proxy.version
    return group, (-version.major, -version.minor, -version.patch) if version else (), named, kind


def _remarks(fleet: Fleet) -> Iterator[str]:
    """What proxies are held against, and of a Pilot what the page about a root's change asks."""
    programs = Counter(
        (one.ref.namespace, "istiod" if one.labels.get("app") == "istiod" else one.container, one.version, one.revision)
        for one in fleet.planes
    )
    for (home, program, version, revision), count in programs.items():
        named = "Pilot" if program == "discovery" else program
        release = version.build if version else "of an unknown version"
        said = f" (revision {revision})" if revision else ""
        pods = f" in {count} pods" if count > 1 else ""
        yield f"{home}: the control plane is {named} {release}{said}{pods}"
    for pilot in pilots(fleet):
        proxy = "has a proxy (2/2)" if pilot.has_proxy else "has no proxy (1/1)"
        security = "on" if pilot.secured else "off"
        verdict = "it must be restarted after a new root" if pilot.blind else "a new root needs no restart of it"
        pod = pilot.part.ref
        yield f"{pod.namespace}: Pilot {pod.name} {proxy}, controlPlaneSecurity is {security}: {verdict}"

"""Every certificate that can stop a mesh, and until when."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from istio_root import checks, renewal
from meshtrust.certificates import Certificate, KeyIdentifier, printable_organization
from meshtrust.checks import ca_loaded, ca_waits, certificates_read, copies_agree, home_copies, signing_root
from meshtrust.durations import short
from meshtrust.findings import Finding, Level, Terms, examine, not_asked
from meshtrust.mesh import Authority, Era, Kind, Look, Mesh, Role, read_meshes
from meshtrust.report import Report, Table, timestamp

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from meshtrust.objects import Ref
    from meshtrust.source import Scope, Source

EXPIRY_CHECKS = (
    checks.ca_stored,
    certificates_read,
    checks.signer_valid,
    checks.root_valid,
    checks.root_lasts,
    checks.signer_lasts,
    checks.key_matches,
    checks.chain_verifies,
    checks.ca_may_sign,
    checks.signature_strong,
    checks.crl_current,
    checks.serving_lasts,
    ca_loaded,
    ca_waits,
    checks.instances_agree,
    copies_agree,
    renewal.renewal_done,
    renewal.renewal_harmless,
    checks.clocks_agree,
    checks.key_hidden,
)

_TITLES = ("ROLE", "SUBJECT", "FINGERPRINT", "WHERE", "EXPIRES", "LEFT", "STATUS")
_WIDE = ("SERIAL", "KEY-IDENTIFIER", "KEY", "SIGNATURE", "MADE-BY")


def report(source: Source, scope: Scope, terms: Terms, remarks: tuple[str, ...]) -> Report:
    meshes = _with_places(source, scope, read_meshes(source, scope), terms)
    findings = examine(meshes, terms, EXPIRY_CHECKS)
    rows = sorted(
        _rows(meshes, _Levels(findings)), key=lambda row: (row.role == Role.PREVIOUS, row.ends, row.role, row.place)
    )
    return Report(
        tool="istio-root",
        command="expiry",
        read_at=terms.now,
        rows=tuple(_facts(row, terms.now) for row in rows),
        table=Table(_TITLES, tuple(_folded(rows, terms.now))),
        wide=Table((*_TITLES, *_WIDE), tuple((*_cells(row, str(row.place), terms.now), *_more(row)) for row in rows)),
        findings=findings,
        checked=sum(1 for row in rows if row.certificate),
        remarks=(*remarks, *(line for mesh in meshes for line in _remarks(mesh, terms.now))),
        not_asked=not_asked(meshes, EXPIRY_CHECKS),
    )


def _with_places(source: Source, scope: Scope, meshes: tuple[Mesh, ...], terms: Terms) -> tuple[Mesh, ...]:
    """Where a copy is stale it matters whether anybody keeps it current; where that is not seen, somebody should."""
    if not any(problem for mesh in meshes for problem in copies_agree.rule(mesh, terms)):
        return meshes
    from meshtrust.verification.places import with_places  # noqa: PLC0415 - of a mesh in order it is not asked

    return with_places(Look(source), meshes, scope)


@dataclass(frozen=True, slots=True)
class _Row:
    """A certificate in its place, or what has an end without being one (a revocation list, a broken block)."""

    role: str
    place: Ref
    certificate: Certificate | None
    not_after: datetime | None
    made_by: str
    level: Level

    @property
    def ends(self) -> datetime:
        """What cannot be read has, for all we know, ended."""
        return self.not_after or datetime.min.replace(tzinfo=UTC)


class _Levels:
    """The worst that is said of a place, and of a certificate wherever it stands."""

    def __init__(self, findings: Iterable[Finding]) -> None:
        self._worst: dict[object, Level] = {}
        for finding in findings:
            for problem in finding.problems:
                subject = problem.certificate.fingerprint if problem.certificate else problem.place
                self._worst[subject] = max(finding.level_of(problem), self._worst.get(subject, Level.OK))

    def of(self, place: Ref, certificate: Certificate | None = None) -> Level:
        own = self._worst.get(certificate.fingerprint, Level.OK) if certificate else Level.OK
        return max(own, self._worst.get(place, Level.OK))


def _rows(meshes: Iterable[Mesh], levels: _Levels) -> Iterator[_Row]:
    for mesh in meshes:
        for role, place, certificate, made_by in _certificates(mesh):
            yield _Row(role, place, certificate, certificate.not_after, made_by, levels.of(place, certificate))
        for authority in mesh.authorities:
            for revocation in authority.revocations:
                yield _Row("crl", revocation.ref, None, revocation.ends, "", levels.of(revocation.ref))
        for broken in mesh.broken:
            yield _Row("unread", broken.ref, None, None, "", levels.of(broken.ref))


def _certificates(mesh: Mesh) -> Iterator[tuple[str, Ref, Certificate, str]]:
    left_over = (*((mesh.waiting,) if mesh.waiting else ()), *mesh.unused)
    for authority in (*mesh.authorities, *left_over):
        for anchor in authority.anchors:
            yield anchor.role, anchor.ref, anchor.certificate, _made_by(authority, anchor.certificate)
        if kept := authority.previous:
            yield kept.role, kept.ref, kept.certificate, _made_by(authority, kept.certificate)
    for anchor in mesh.serving:
        yield anchor.role, anchor.ref, anchor.certificate, ""
    for copy in mesh.copies:
        for certificate in copy.certificates:
            yield Role.COPY, copy.ref, certificate, ""


def _made_by(authority: Authority, certificate: Certificate) -> str:
    """Which Istio made a self-signed root: it shows in its key identifier."""
    if authority.kind is not Kind.SELF_SIGNED:
        return ""
    names = certificate.organizations
    if len(names) != 1 or certificate.subject_bytes != printable_organization(names[0]):
        return "not Istio"
    return {
        KeyIdentifier.NONE: "Citadel, or istiod before 1.8",
        KeyIdentifier.SHA1: "istiod 1.8-1.28",
        KeyIdentifier.SHA256: "istiod 1.29 or newer",
        KeyIdentifier.OTHER: "not Istio",
    }[certificate.key_identifier]


def _facts(row: _Row, now: datetime) -> Mapping[str, Any]:
    held = row.certificate
    identifier = held.subject_key_identifier if held else None
    return {
        "role": str(row.role),
        "place": str(row.place),
        "subject": held.subject if held else None,
        "fingerprint": held.fingerprint if held else None,
        "serial": f"{held.serial:x}" if held else None,
        "not_before": timestamp(held.not_before) if held else None,
        "not_after": timestamp(row.not_after) if row.not_after else None,
        "seconds_left": int((row.not_after - now).total_seconds()) if row.not_after else None,
        "level": str(row.level),
        "subject_key_identifier": identifier.hex() if identifier else None,
        "key": held.key if held else None,
        "signature": held.signature if held else None,
        "made_by": row.made_by or None,
    }


def _folded(rows: Iterable[_Row], now: datetime) -> Iterator[tuple[str, ...]]:
    """One line for all copies that are alike: the same certificate, in objects of one name, equally well."""
    groups: dict[tuple[object, ...], list[_Row]] = {}
    for row in rows:
        alike = (row.place.kind, row.place.name) if row.role == Role.COPY else (row.place,)
        groups.setdefault((row.role, row.certificate, row.level, *alike), []).append(row)
    for group in groups.values():
        first, places = group[0], {row.place.namespace for row in group}
        where = str(first.place)
        if len(places) > 1:
            where = f"{first.place.kind} {first.place.name} in {len(places)} namespaces"
        yield _cells(first, where, now)


def _cells(row: _Row, where: str, now: datetime) -> tuple[str, ...]:
    held = row.certificate
    return (
        str(row.role),
        (held.subject or "<empty>") if held else "<none>",
        held.short if held else "<none>",
        where,
        timestamp(row.not_after) if row.not_after else "<unknown>",
        short(row.not_after - now) if row.not_after else "<unknown>",
        str(row.level),
    )


def _more(row: _Row) -> tuple[str, ...]:
    held = row.certificate
    if held is None:
        return ("<none>",) * len(_WIDE)
    identifier = held.subject_key_identifier
    return (
        f"{held.serial:x}",
        f"{identifier.hex()} ({held.key_identifier})" if identifier else "<none>",
        held.key,
        held.signature,
        row.made_by or "<none>",
    )


def _remarks(mesh: Mesh, now: datetime) -> Iterator[str]:
    """What stands here, in a line for each CA, and what its own renewal will do."""
    known = {held for copy in home_copies(mesh) for held in copy.certificates}
    for authority in mesh.authorities:
        root = signing_root(authority)
        loaded = mesh.era is Era.CITADEL or root is None or not known or root in known
        yield f"{mesh.namespace}: {who_signs(authority)}{'' if loaded else ', which is not loaded'}"
    for unused in mesh.unused:
        yield f"{mesh.namespace}: {unused.ref} is not used by anything that runs"
    for forecast in renewal.forecasts(mesh):
        yield f"{mesh.namespace}: {renewal.remark(forecast, mesh.era, now)}"
    yield from mesh.remarks


def who_signs(authority: Authority) -> str:
    """`istiod 1.29.2 signs with the self-signed CA in Secret istio-system/istio-ca-secret`."""
    return f"{_who(authority)}{_named(authority)}"


def _named(authority: Authority) -> str:
    match authority.kind:
        case Kind.EXTERNAL:
            return "an external CA: only its public roots can be judged here"
        case Kind.UNSEEN:
            return "a CA that was not seen: the published roots are judged"
        case _ if authority.key_ref is None:
            return "a CA whose Secret is gone: the published roots are judged"
        case _:
            return f"the {authority.kind} CA in {authority.ref}"


def _who(authority: Authority) -> str:
    programs = sorted(
        {
            f"{instance.era}{f' {instance.version}' if instance.version else ''}"
            f"{f' (revision {instance.revision})' if instance.revision else ''}"
            f"{'' if instance.ref.kind == 'Pod' else ', of which nothing runs,'}"
            for instance in authority.instances
        }
    )
    return f"{', '.join(programs)} signs with " if programs else ""

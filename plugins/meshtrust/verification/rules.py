"""What must be true of every holder, one by one: a workload's Secret, a proxy, an identity of a ztunnel."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from meshtrust.certificates import Peer, refusal
from meshtrust.checks import dates, lacks
from meshtrust.durations import by_minute, spoken
from meshtrust.findings import Level, Problem, check
from meshtrust.mesh import Sight
from meshtrust.verification.holding import UNSURE, Case, Half

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from meshtrust.certificates import Certificate

_SEEN = (Sight.WORKLOADS, Sight.PROXIES, Sight.MEMORY)


def _problem(case: Case, detail: str, level: Level | None = None) -> Problem:
    """What nobody keeps current is no mismatch: a warning at most, and the reason with it."""
    holding = case.holding
    if holding.unkept:
        return Problem(
            holding.place,
            f"{detail}; {holding.unkept}",
            Level.WARNING,
            hint=_SEE_FIRST if holding.unkept == UNSURE else _UNKEPT,
        )
    return Problem(holding.place, detail, level)


_UNKEPT = "what nobody keeps current: delete it once no pod mounts it"
_SEE_FIRST = "with the right to list namespaces it is known whether Citadel makes it anew: do not delete it before"


@check(
    "delivered",
    Level.CRITICAL,
    says="every proxy has been given a bundle and a certificate",
    needs=(Sight.PROXIES, Sight.MEMORY),
    hint="the log of its agent and of istiod tell why; a ztunnel tries again after up to 3 minutes",
)
def delivered(case: Case, _now: datetime) -> Iterator[Problem]:
    if case.holding.absent:
        yield _problem(case, case.holding.absent)


@check(
    "bundles-read",
    Level.CRITICAL,
    says="every block of every holder's bundle and chain is a certificate",
    needs=_SEEN,
    hint="Envoy refuses the whole bundle for one bad block",
)
def bundles_read(case: Case, _now: datetime) -> Iterator[Problem]:
    for why in case.holding.broken:
        yield _problem(case, why)


@check(
    "root-held",
    Level.CRITICAL,
    says="every workload's Secret and every proxy holds the root that signs",
    needs=(Sight.CA, Sight.COPIES, *_SEEN),
    hint="a new leaf brings the root along: restart what runs the proxy",
)
def root_held(case: Case, now: datetime) -> Iterator[Problem]:
    holding = case.holding
    if holding.absent or holding.signer or case.moved:
        return
    if holding.shows:
        yield _problem(case, f"{holding.shows}{_when(case, now)}")
        return
    if case.moves_by and (ends := case.ends_first(now)):
        detail = f"holds another edition of the root that ends by {ends:%Y-%m-%dT%H:%M}Z, before it moves by "
        detail += f"{by_minute(case.moves_by)}: in between it refuses everybody"
        yield replace(_problem(case, detail, Level.CRITICAL), hint=_BEFORE_ITS_END)
        return
    for root in case.roots:
        if fault := lacks(holding.roots, root, now, holding.peer):
            detail, level = fault
            hint = "" if holding.half is Half.LIVE else _ANEW if level is Level.CRITICAL else _IN_TURN
            problem = _problem(case, f"{detail}{_when(case, now)}", level)
            yield replace(problem, hint=problem.hint or hint)


_BEFORE_ITS_END = "restart what runs the proxy before the root ends that it holds: it comes back with the new one"
_ANEW = "a Secret of Citadel's: delete it, Citadel makes it anew; then its Envoys take it, or are restarted"
_IN_TURN = (
    "a Secret of Citadel's: Citadel rewrites it in its turn; where it is overdue, delete it: Citadel makes it anew"
)


def _when(case: Case, now: datetime) -> str:
    if case.moves_by is None:
        return ""
    if case.moves_by < now:
        return f", overdue for {spoken(now - case.moves_by)}"
    return f", moves by {by_minute(case.moves_by)}"


@check(
    "leaf-verifies",
    Level.CRITICAL,
    says="every leaf verifies against the root that signs now",
    needs=(Sight.CA, Sight.COPIES, *_SEEN),
    hint="restart what runs the proxy: it asks for a new leaf; Citadel makes a deleted Secret anew",
)
def leaf_verifies(case: Case, now: datetime) -> Iterator[Problem]:
    holding = case.holding
    if holding.unproven and case.signed is None:
        hint = (
            "the Secret that it mounts would show it: let its namespace's Secrets be listed, and look again in a minute"
        )
        yield replace(_problem(case, holding.unproven, Level.UNKNOWN), hint=hint)
    if holding.signer or case.signed is not False or case.blamed:
        return
    if case.once_signed:
        detail = "its leaf is of another root of the bundle, which the others still trust: not moved yet"
        yield _problem(case, f"{detail}{'' if not case.moved else _when(case, now)}", Level.WARNING)
        return
    problem = _problem(case, f"its leaf does not verify against the root that signs: {_why(case)}")
    yield replace(problem, hint=_FIRST_THE_CA) if case.unfit else problem


_FIRST_THE_CA = "first mend the CA (root-known): a restart before that brings a leaf that does not verify either"


def _why(case: Case) -> str:
    """Name the nearest miss: an issuer by its name, or that there is none."""
    chain = case.holding.chain
    if case.leaf.lapsed or not chain:
        return case.leaf.lapsed or "another CA signed it"
    for issuer in (*case.roots, *chain[1:]):
        if issuer.subject_bytes == chain[0].issuer_bytes or issuer.key_bytes == _signing_key(chain, case):
            why = refusal(chain[0], issuer, case.holding.peer)
            return f"of {issuer.short}, {why}" if why else f"nothing vouches for {issuer.short} above it"
    return f"no certificate of its issuer ({_issuer(chain[0])}) is there"


def _signing_key(chain: tuple[Certificate, ...], case: Case) -> bytes | None:
    return next((root.key_bytes for root in (*case.roots, *chain[1:]) if not refusal(chain[0], root, Peer.ENVOY)), None)


def _issuer(leaf: Certificate) -> str:
    return leaf.parsed.issuer.rfc4514_string() or "without a name"


@check(
    "leaf-valid",
    Level.CRITICAL,
    says="every leaf is in date",
    needs=_SEEN,
    hint="the log of its agent (or Citadel) tells why it was not renewed; a restart asks anew",
)
def leaf_valid(case: Case, now: datetime) -> Iterator[Problem]:
    span, chain = case.holding.span, case.holding.chain
    said = ""
    if chain:
        said = f": {fault}" if (fault := dates(chain[0], now)) else ""
    elif span and not span.not_before <= now <= span.not_after:
        said = f" expired {spoken(now - span.not_after)} ago" if now > span.not_after else " is not valid yet"
    if said:
        problem = _problem(case, f"its leaf{said}")
        yield replace(problem, hint=problem.hint or (_WITH_ITS_ROOT if case.ended(now) else ""))


_WITH_ITS_ROOT = (
    "its root is not valid either: first a root that is; then the next leaf comes, a restart before brings none"
)


@check(
    "leaf-renewed",
    Level.WARNING,
    says="every leaf past its point of renewal has been renewed",
    needs=_SEEN,
    hint="the renewal fails: the log of its agent (of ztunnel, of Citadel) tells why",
)
def leaf_renewed(case: Case, now: datetime) -> Iterator[Problem]:
    span = case.holding.span
    if span is None or case.holding.signer or not span.renewed_by < now <= span.not_after:
        return
    yield _problem(case, f"overdue: its leaf should have been renewed {spoken(now - span.renewed_by)} ago")


@check(
    "leaf-named",
    Level.CRITICAL,
    says="the leaf in a workload's Secret names the ServiceAccount that the Secret is for",
    needs=(Sight.WORKLOADS,),
    hint="give the annotation istio.io/service-account.name back, or delete the Secret: Citadel makes it anew",
)
def leaf_named(case: Case, _now: datetime) -> Iterator[Problem]:
    holding = case.holding
    if holding.half is not Half.STORED or not holding.chain:
        return
    named = f"/ns/{holding.place.namespace}/sa/{holding.account}"
    if not (holding.identity.startswith("spiffe://") and holding.identity.endswith(named)):
        yield _problem(case, f"its leaf names {holding.identity or 'nobody'}, not {named}")
    elif holding.annotated != holding.account:
        said = holding.annotated or "nobody"
        yield _problem(case, f"its annotation names {said}: the next leaf will", Level.WARNING)


@check(
    "leaf-accepted",
    Level.CRITICAL,
    says="no proxy refuses the leaf of another one, whatever root it holds",
    needs=(Sight.PROXIES, Sight.MEMORY),
    hint="restart what runs the odd one: it comes back with the root that signs, and a leaf of it",
)
def leaf_accepted(_case: Case, _now: datetime) -> Iterator[Problem]:
    """Only known when all have been seen: `pairs` says it."""
    return iter(())


SECRET_CHECKS = (bundles_read, root_held, leaf_verifies, leaf_valid, leaf_renewed, leaf_named)
LIVE_CHECKS = (delivered, bundles_read, root_held, leaf_verifies, leaf_valid, leaf_renewed, leaf_accepted)

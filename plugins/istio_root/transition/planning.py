"""From a source to a plan: everything that a change of the root depends on is read once, before any judgement."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, cast

from istio_root.transition.following import secrets_behind
from istio_root.transition.impact import Impact, read_impact
from istio_root.transition.plan import AS_LONG, Plan, Stage
from istio_root.transition.rights import answered, wanted
from istio_root.transition.secret import read_key, read_secret, replacing
from istio_root.transition.wish import USUAL_LIFETIME, Verb, Wish
from meshtrust.certificates import Unsigned, parse_pem, rehearse, reissue
from meshtrust.checks import home_copies
from meshtrust.errors import ToolError, UsageError
from meshtrust.mesh import Era, Kind, Look, Mesh, Rollout, Sight, names, read_parts, read_rollouts
from meshtrust.verification.rules import root_held
from meshtrust.verification.settling import Published
from meshtrust.verification.stored import judge_workloads
from meshtrust.verification.tally import Tally
from meshtrust.versions import RELOADS_ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from istio_root.transition.secret import CaSecret
    from meshtrust.certificates import Certificate
    from meshtrust.mesh import Copy, Part
    from meshtrust.reading import Reading
    from meshtrust.source import Living, Source

BACK_DATED = timedelta(hours=1)  # whose clock is behind the API server's must not see a root of the future
_AFTER_CITADEL = ("galley", "validator", names.ISTIOD_CONTAINER, names.INJECTOR)  # in this order


def read_plan(reading: Reading, wish: Wish) -> Plan:
    """Raises ToolError where there is no mesh, UsageError where it is not said which of several is meant."""
    deadline = None if wish.timeout is None else monotonic() + wish.timeout
    published = Published(reading.source, reading.scope, reading.now)
    published.read_beside()
    mesh = _the_one(published.meshes)
    now = (reading.now + (mesh.clock_skew or timedelta(0))).replace(microsecond=0)
    begins = min(now, reading.now.replace(microsecond=0)) - BACK_DATED  # whichever clock is ahead
    where = "" if reading.source.recorded else cast("Living", reading.source).described
    plan = Plan(wish, mesh, published, now, begins, now + (wish.lifetime or USUAL_LIFETIME), where=where)
    look = Look(reading.source)
    plan = replace(plan, rollouts=read_rollouts(look, mesh.namespace), parts=read_parts(look, mesh.namespace))
    plan = _with_secret(plan, look)
    plan = _with_stage(plan, look, reading)
    plan = _with_target(plan, reading.source)
    plan = _with_restarts(plan)
    impact = _impact(reading, plan, deadline)
    plan = replace(plan, impact=impact)
    rights = answered(reading.source, wanted(plan))
    return replace(
        plan,
        rights=rights,
        clusters=tuple(_clusters(look, mesh.namespace)),
        gaps=(*mesh.gaps, *published.gaps, *look.gaps, *impact.gaps, *rights.gaps),
        not_asked=frozenset({*mesh.not_asked, *_not_asked(reading.source, plan)}),
    )


def _the_one(meshes: tuple[Mesh, ...]) -> Mesh:
    if len(meshes) > 1:
        homes = ", ".join(mesh.namespace for mesh in meshes)
        raise UsageError(f"{len(meshes)} control planes are here: {homes}", "-i NAMESPACE says whose root is meant")
    return meshes[0]


def _with_secret(plan: Plan, look: Look) -> Plan:
    """What is managed here: a self-signed CA of istiod or Citadel. Of every other one nothing is touched."""
    own = [ca for ca in plan.mesh.authorities if ca.kind is Kind.SELF_SIGNED]
    authority = own[0] if own else plan.mesh.authorities[0]
    if authority.kind is not Kind.SELF_SIGNED or authority.signer is None:
        return replace(plan, authority=authority)
    secret = read_secret(look, authority.ref)
    root = secret.held[0] if secret and secret.held else None
    unseen = secret is None and any(gap.sight is Sight.CA for gap in look.gaps)
    if not unseen and authority.signer.certificate != root:
        raise ToolError(f"{authority.ref} changed while it was read", "somebody writes it: look again in a moment")
    return replace(plan, authority=authority, secret=secret, root=root, target=root)


def _with_stage(plan: Plan, look: Look, reading: Reading) -> Plan:
    if plan.root is None:
        return plan
    if plan.mesh.era is Era.CITADEL:
        return _with_workloads(plan, look, reading)
    return replace(plan, stage=_stage(plan, plan.root))


def _stage(plan: Plan, root: Certificate) -> Stage:
    """By what is published at home, where anything is, else by all that somebody keeps current."""
    kept = tuple(copy for copy in (*plan.mesh.copies, *plan.mesh.webhooks) if not copy.left_behind)
    home = tuple(copy for copy in home_copies(plan.mesh) if copy.certificates) or kept
    if home and not any(root in copy.certificates for copy in home):
        waits = any(_is_edition(root, held) for copy in home for held in copy.certificates)
        return Stage.WRITTEN if waits else Stage.FRESH
    late = any(_is_late(root, copy) for copy in kept)
    return Stage.LOADED if late else Stage.PUBLISHED if _left_over(plan) else Stage.FRESH


def _is_late(root: Certificate, copy: Copy) -> bool:
    return root not in copy.certificates and any(_is_edition(root, held) for held in copy.certificates)


def _left_over(plan: Plan) -> bool:
    """Whether a change of ours was cut short between its restarts.

    What is published shows that one istiod has loaded the root: of several, and of the parts that only read their
    certificates at their start, only the start of their pods tells.
    """
    if not plan.wish.restart or plan.secret is None or not plan.secret.ours:
        return False
    running = [one for one in plan.signing if one.wanted]
    several = running if plan.mesh.era is not Era.CITADEL and len(running) > 1 else ()
    return any(_is_older(plan, one) for one in (*several, *_read_once(plan)) if one.wanted)


def _with_workloads(plan: Plan, look: Look, reading: Reading) -> Plan:
    """What Citadel has loaded shows in the Secrets that it keeps for the workloads."""
    tally = Tally()
    missing = judge_workloads(look, (plan.mesh,), reading.scope, tally, plan.now, None)
    behind = secrets_behind(tally, plan.root) if plan.root else 0
    moved = sum(1 for row in tally.rows.values() if row.moved and root_held.id not in row.checks)
    if behind and plan.root:
        stage = Stage.LOADED if moved else Stage.WRITTEN
    elif plan.root and not moved and any(_is_late(plan.root, copy) for copy in plan.mesh.copies):
        stage = Stage.WRITTEN  # nobody's Secret tells: what node agents are handed does
    else:
        stage = Stage.PUBLISHED if _left_over(plan) else Stage.FRESH
    mesh = replace(plan.mesh, missing=(*plan.mesh.missing, *missing))
    return replace(plan, mesh=mesh, stage=stage)


def _is_edition(root: Certificate, held: Certificate) -> bool:
    return root != held and held.stands_in_for(root)


def _with_target(plan: Plan, source: Source) -> Plan:
    """Make the change, in memory: the key is read for this moment alone."""
    secret, root, wish = plan.secret, plan.root, plan.wish
    if secret is None or root is None:
        return plan
    plan = replace(plan, lasts=_lasts(plan, secret, root))
    if not plan.writes:
        return plan
    if wish.verb is Verb.RESTORE and secret.previous:
        return replace(
            plan, change=replacing(secret, root, secret.previous, plan.now, restored=True), target=secret.previous
        )
    key = _key_in(wish.key_file) if wish.key_file else read_key(source, secret.ref)
    if not wish.key_file and (not key or "PUBLIC KEY-----" in key):
        # A recording holds no private key: what the root would be is told, not made.
        return replace(plan, target=None, unsigned="" if source.recorded else "no private key stands in it")
    try:
        made = reissue(root, key, not_before=plan.begins, not_after=plan.ends, drop_identifier=wish.drop)
        (new,) = parse_pem(made).certificates
        refusals = rehearse(root, new, key, plan.now)
    except Unsigned as error:
        return replace(plan, target=None, unsigned=error.message)
    finally:
        del key
    return replace(plan, change=replacing(secret, root, new, plan.now, restored=False), target=new, refusals=refusals)


def _key_in(path: str) -> str:
    try:
        return Path(path).read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not PEM"
    # Out here, for an error of decoding would take along what was read.
    raise ToolError(f"{path}: cannot be read as a key: {why}", "--key-file names a PEM file")


def _lasts(plan: Plan, secret: CaSecret, root: Certificate) -> bool:
    wish, previous = plan.wish, secret.previous
    if wish.verb is Verb.RESTORE:
        # A restore that was cut short goes on: a second one would undo it.
        restoring = plan.stage is not Stage.FRESH and secret.ours and secret.restored
        return previous is None or restoring
    sheds = wish.drop and root.subject_key_identifier is not None
    lasts = plan.ends - AS_LONG <= root.not_after
    return not plan.expired and lasts and not sheds


def _with_restarts(plan: Plan) -> Plan:
    """Every Deployment of the CA, of every revision; only what has not loaded the root where a change is under way."""
    if not plan.writes and plan.stage is Stage.FRESH:
        return plan
    running = tuple(one for one in plan.signing if one.wanted)
    healing = tuple(one for one in running if _heals(plan, one)) if plan.expired else ()
    if not plan.wish.restart:
        return replace(plan, healed=healing)
    due = tuple(one for one in running if one not in healing and (plan.writes or _is_older(plan, one)))
    rewrites = plan.writes or plan.stage is not Stage.PUBLISHED
    after = tuple(one for one in _read_once(plan) if one.wanted and (rewrites or _is_older(plan, one)))
    return replace(plan, healed=healing, restarted=due, restarted_after=after)


def _heals(plan: Plan, rollout: Rollout) -> bool:
    """An istiod that is not ready for want of a valid root takes one within seconds; Citadel exits, and must start."""
    return plan.mesh.era is Era.ISTIOD and rollout.ready == 0


def _is_older(plan: Plan, rollout: Rollout) -> bool:
    """Whether a pod of it started before the root was written, so that it may hold the one before."""
    written = plan.secret.written if plan.secret else None
    started = [one.started for one in plan.parts if (one.part, one.revision) == (rollout.part, rollout.revision)]
    return written is None or any(at is None or at < written for at in started)


def _impact(reading: Reading, plan: Plan, deadline: float | None) -> Impact:
    target = plan.target or plan.root
    if plan.root is None or target is None:
        return Impact()
    return read_impact(reading, plan.mesh, plan.now, present=plan.root, target=target, deadline=deadline)


def _read_once(plan: Plan) -> Iterator[Rollout]:
    """Citadel era, in the order of Istio's manual: Galley, Pilot without a sidecar, the injector where it is old."""
    if plan.mesh.era is not Era.CITADEL:
        return
    for part in _AFTER_CITADEL:
        pods = [one for one in plan.parts if one.part == part]
        if any(_reads_once(one) for one in pods):
            yield from (rollout for rollout in plan.rollouts if rollout.part == part)


def _reads_once(part: Part) -> bool:
    if part.part == names.ISTIOD_CONTAINER:
        return not part.proxied  # with a sidecar it is the Envoy that speaks TLS
    if part.part == names.INJECTOR:
        return part.version is None or not part.version.has(RELOADS_ROOT)
    return True


def _clusters(look: Look, home: str) -> Iterator[str]:
    """Other clusters that this control plane reads: they may live by the same root."""
    for found in look.objects(Sight.CLUSTERS, "RemoteSecret", namespace=home, labels=names.REMOTE_SECRETS):
        yield found.ref.name


def _not_asked(source: Source, plan: Plan) -> Iterator[Sight]:
    if source.recorded:
        yield Sight.RIGHTS
        if not source.holds("Deployment"):
            yield Sight.ROLLOUTS
    if plan.writes and plan.change is None and not plan.unsigned:
        yield Sight.KEY

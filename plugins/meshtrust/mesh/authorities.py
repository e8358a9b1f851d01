"""Which CA signs: what its Secrets hold, and which of them each instance has loaded.

An instance picks its CA once, at its start (pilot/pkg/bootstrap/istio_ca.go): `cacerts` where it is complete, else the
self-signed CA of `istio-ca-secret`. What stands in the Secrets now may therefore be another CA than the one that signs;
what the control plane publishes, and when its pods started, tells them apart.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from meshtrust.certificates import pair_fault, parse_pem, revocation_ends
from meshtrust.mesh import names
from meshtrust.mesh.instances import signs_for_itself, switch
from meshtrust.mesh.look import moment
from meshtrust.mesh.model import Anchor, Authority, Era, Gap, Instance, Kind, RevocationList, Role, Sight
from meshtrust.objects import KubeObject, Ref, Unread
from meshtrust.versions import REFUSES_INCOMPLETE, TLS_NAMES

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from meshtrust.certificates import Certificate
    from meshtrust.mesh.look import Look


@dataclass(frozen=True, slots=True)
class Stored:
    """The CAs that stand in the Secrets of one namespace. `seen` is false where they could not be read."""

    self_signed: Authority | None = None
    cacerts: Authority | None = None
    generated: bool = False
    tls_names: bool = False
    created: datetime | None = None
    seen: bool = True


@dataclass(frozen=True, slots=True)
class Choice:
    """The CAs that sign, the one that would take over at the next start, and those that nobody uses."""

    authorities: tuple[Authority, ...]
    waiting: Authority | None = None
    unused: tuple[Authority, ...] = ()


def read_stored(look: Look, namespace: str) -> Stored:
    before = len(look.gaps)
    secret = look.one(Sight.CA, "Secret", namespace, names.CA_SECRET)
    cacerts = look.one(Sight.CA, "Secret", namespace, names.CACERTS)
    body = (cacerts.body.get("data") or {}) if cacerts else {}
    look.exposed += [found.ref.at(names.LAST_APPLIED) for found in (secret, cacerts) if found and _annotated_key(found)]
    return Stored(
        self_signed=_self_signed(look, secret) if secret else None,
        cacerts=_plugged_in(look, cacerts) if cacerts else None,
        generated=names.GENERATED in body,
        tls_names=_has_tls_names(cacerts) if cacerts else False,
        created=moment(cacerts.created) if cacerts else None,
        seen=len(look.gaps) == before,
    )


def choose(
    look: Look, namespace: str, instances: tuple[Instance, ...], stored: Stored, published: tuple[Certificate, ...]
) -> Choice:
    """Give every instance the CA that it has loaded, and name what is left over.

    `published` is what the control plane publishes as its roots: empty where that was not seen.
    """
    chosen: dict[tuple[Kind, Ref], list[Instance]] = {}
    catalogue: dict[tuple[Kind, Ref], Authority] = {}
    for instance in instances or (None,):
        authority = _authority_of(look, namespace, instance, instances, stored, published)
        place = (authority.kind, authority.ref)
        catalogue[place] = authority
        chosen.setdefault(place, []).extend((instance,) if instance else ())
    authorities = tuple(replace(catalogue[place], instances=tuple(who)) for place, who in chosen.items())
    refs = {authority.ref for authority in authorities}
    left = [ca for ca in (stored.cacerts, stored.self_signed) if ca and ca.ref not in refs]
    waits = next((ca for ca in left if ca is stored.cacerts and _takes_over(stored, authorities)), None)
    return Choice(
        authorities,
        waiting=_in_role(waits, Role.WAITS) if waits else None,
        unused=tuple(_in_role(ca, Role.UNUSED) for ca in left if ca is not waits and not _adds_roots(ca)),
    )


def _authority_of(
    look: Look,
    namespace: str,
    instance: Instance | None,
    instances: tuple[Instance, ...],
    stored: Stored,
    published: tuple[Certificate, ...],
) -> Authority:
    here = Ref("Namespace", "", namespace)
    if instance and instance.era is Era.CITADEL:
        own = signs_for_itself(instance)
        return _or_none(stored, stored.self_signed if own else stored.cacerts, namespace, own=own)
    if instance and _external(look, instance):
        return Authority(Kind.EXTERNAL, here)
    if instance is None and published and stored.seen and not _any_shares(stored, published):
        return Authority(Kind.EXTERNAL, here)
    if instance and stored.cacerts and stored.generated and switch(instance, names.GENERATED_CACERTS, default=False):
        return stored.self_signed or _with_own_roots(stored.cacerts)
    loaded = _uses_cacerts(instance, instances, stored, published)
    signing = stored.cacerts if loaded else _with_extra_roots(stored.self_signed, stored.cacerts)
    return _or_none(stored, signing, namespace, own=not loaded)


def _with_own_roots(generated: Authority) -> Authority:
    """A self-signed CA in `cacerts`: what signs is a root; after a renewal `root-cert.pem` still holds the old one."""
    signing = (generated.signer,) if generated.signer else ()
    return replace(
        generated,
        kind=Kind.SELF_SIGNED,
        roots=(*signing, *(r for r in generated.roots if r.certificate not in {s.certificate for s in signing})),
    )


def _with_extra_roots(own: Authority | None, cacerts: Authority | None) -> Authority | None:
    """Until istiod insisted on all its files, a `cacerts` without a key was the way to add roots to its own."""
    if own and cacerts and _adds_roots(cacerts):
        return replace(own, roots=(*own.roots, *cacerts.roots))
    return own


def _adds_roots(authority: Authority) -> bool:
    return authority.signer is None and bool(authority.roots)


def _or_none(stored: Stored, authority: Authority | None, namespace: str, *, own: bool) -> Authority:
    """The CA, or the empty place where it should stand: `Kind.UNSEEN` only where looking was not possible."""
    if authority:
        return authority
    ref = Ref("Secret", namespace, names.CA_SECRET if own else names.CACERTS)
    if not stored.seen:
        return Authority(Kind.UNSEEN, ref)
    return Authority(Kind.SELF_SIGNED if own else Kind.PLUGGED_IN, ref)


def _external(look: Look, instance: Instance) -> bool:
    """Istiod signs nothing itself, or hands every request on (RA mode)."""
    for variable in (names.CA_SERVER, names.EXTERNAL_CA):
        if variable in instance.env and instance.env[variable] is None:
            look.gaps.append(Gap(instance.ref, Sight.CA, f"{variable} comes from elsewhere (valueFrom)"))
    return switch(instance, names.CA_SERVER, default=True) is False or bool(instance.env.get(names.EXTERNAL_CA))


def _uses_cacerts(
    instance: Instance | None, instances: tuple[Instance, ...], stored: Stored, published: tuple[Certificate, ...]
) -> bool:
    """Whether an istiod signs with `cacerts`: by what is published, else by what stood there when it started.

    The leader alone publishes. So where some instances are older than `cacerts` and others are not, each is judged by
    its own start.
    """
    if not _usable(instance, stored):
        return False
    by_start = _started_after(instance, stored)
    mixed = len({_started_after(other, stored) for other in instances}) > 1
    if mixed and by_start is not None:
        return by_start
    plugged, own = _shares(stored.cacerts, published), _shares(stored.self_signed, published)
    if plugged != own:
        return plugged
    return by_start is not False


def _usable(instance: Instance | None, stored: Stored) -> bool:
    if not stored.cacerts or not stored.cacerts.signer:
        return False
    version = instance.version if instance else None
    if stored.tls_names and version and not version.has(TLS_NAMES):
        return False
    if stored.cacerts.missing:
        # Before istiod insisted on all of its files, the key alone decided.
        return version is not None and not version.has(REFUSES_INCOMPLETE) and not stored.cacerts.key_fault
    return True


def _started_after(instance: Instance | None, stored: Stored) -> bool | None:
    if instance is None or instance.started is None or stored.created is None:
        return None
    return instance.started >= stored.created


def _takes_over(stored: Stored, authorities: Iterable[Authority]) -> bool:
    """Whether a `cacerts` that nobody has loaded decides the next start: it signs then, or istiod refuses to start."""
    signing = [ca for ca in authorities if ca.kind is not Kind.EXTERNAL]
    instances = [i for ca in signing for i in ca.instances if i.era is Era.ISTIOD]
    if stored.generated and any(switch(i, names.GENERATED_CACERTS, default=False) for i in instances):
        return False  # istio-ca-secret comes first
    incomplete = stored.cacerts is not None and bool(stored.cacerts.missing)
    return any(
        _usable(i, stored) or (incomplete and (i.version is None or i.version.has(REFUSES_INCOMPLETE)))
        for i in instances
    )


def _any_shares(stored: Stored, published: tuple[Certificate, ...]) -> bool:
    return any(_shares(ca, published) for ca in (stored.self_signed, stored.cacerts))


def _shares(authority: Authority | None, published: tuple[Certificate, ...]) -> bool:
    """Whether a root of this CA, in whatever edition, is among the published ones."""
    keys = {certificate.key_bytes for certificate in published}
    return authority is not None and any(root.key_bytes in keys for root in authority.bundle)


def _in_role(authority: Authority, role: Role) -> Authority:
    def recast(anchors: Iterable[Anchor]) -> tuple[Anchor, ...]:
        return tuple(replace(anchor, role=role) for anchor in anchors)

    signer = replace(authority.signer, role=role) if authority.signer else None
    return replace(
        authority, signer=signer, intermediates=recast(authority.intermediates), roots=recast(authority.roots)
    )


def _self_signed(look: Look, secret: KubeObject) -> Authority:
    """The first certificate signs, all of them are the bundle. `root-cert.pem` is a copy that nobody reads."""
    place = secret.ref.at(names.SIGNING)
    found = _certificates(look, secret, names.SIGNING)
    roots = tuple(Anchor(place, Role.ROOT, certificate) for certificate in found)
    signer = replace(roots[0], role=Role.SIGNS) if roots else None
    return Authority(
        Kind.SELF_SIGNED,
        secret.ref,
        signer=signer,
        roots=(*((signer,) if signer else ()), *roots[1:]),
        key_ref=secret.ref.at(names.SIGNING_KEY),
        key_fault=_key_fault(look, secret, signer, names.SIGNING_KEY),
        previous=_previous(look, secret),
    )


def _previous(look: Look, secret: KubeObject) -> Anchor | None:
    text = look.text(secret, names.PREVIOUS)
    found = parse_pem(text).certificates if text else ()
    return Anchor(secret.ref.at(names.PREVIOUS), Role.PREVIOUS, found[0]) if found else None


def _annotated_key(secret: KubeObject) -> bool:
    """`kubectl apply` keeps what it was given, private key included, where everybody sees an object's metadata."""
    try:
        applied = json.loads(secret.annotations.get(names.LAST_APPLIED, "null"))
    except ValueError:
        return False
    held = {**(applied.get("data") or {}), **(applied.get("stringData") or {})} if isinstance(applied, dict) else {}
    return any(held.get(key) for key in (names.SIGNING_KEY, names.TLS_KEY))


def _has_tls_names(cacerts: KubeObject) -> bool:
    """kubernetes.io/tls names are taken where `tls.crt` is there (1.15)."""
    return names.TLS_SIGNING in (cacerts.body.get("data") or {})


def _plugged_in(look: Look, cacerts: KubeObject) -> Authority:
    tls = _has_tls_names(cacerts)
    signing, key, roots = (
        (names.TLS_SIGNING, names.TLS_KEY, names.TLS_ROOTS) if tls else (names.SIGNING, names.SIGNING_KEY, names.ROOTS)
    )
    keys = (signing, key, roots) if tls else (signing, key, names.CHAIN, roots)
    held = cacerts.body.get("data") or {}
    missing = tuple(name for name in keys if name not in held)
    issued = _certificates(look, cacerts, signing) if signing in held else ()
    anchors = _certificates(look, cacerts, roots) if roots in held else ()
    # istiod reads the first block of ca-cert.pem alone; of tls.crt all of them.
    chained, at_chain = (issued[1:], signing) if tls else ((), names.CHAIN)
    if not tls and look.text(cacerts, names.CHAIN):
        chained = _certificates(look, cacerts, names.CHAIN)
    signer = Anchor(cacerts.ref.at(signing), Role.SIGNS, issued[0]) if issued else None
    known = {c.fingerprint for c in (*issued[:1], *anchors)}
    intermediates = {c.fingerprint: Anchor(cacerts.ref.at(at_chain), Role.INTERMEDIATE, c) for c in reversed(chained)}
    return Authority(
        Kind.PLUGGED_IN,
        cacerts.ref,
        signer=signer,
        intermediates=tuple(a for f, a in reversed(intermediates.items()) if f not in known),
        roots=tuple(Anchor(cacerts.ref.at(roots), Role.ROOT, certificate) for certificate in anchors),
        key_ref=cacerts.ref.at(key),
        key_fault=_key_fault(look, cacerts, signer, key),
        previous=_previous(look, cacerts),
        revocations=_revocations(look, cacerts),
        missing=missing,
        handed_ref=cacerts.ref.at(at_chain),
        handed=issued if tls else chained,
    )


def _certificates(look: Look, secret: KubeObject, key: str) -> tuple[Certificate, ...]:
    broken = len(look.broken)
    text = look.text(secret, key)
    if len(look.broken) > broken:
        return ()  # not even base64, and that is remembered
    return look.certificates(secret.ref.at(key), text)


def _key_fault(look: Look, secret: KubeObject, signer: Anchor | None, key: str) -> str:
    text = look.text(secret, key)
    if not text:
        return "there is no key"
    return pair_fault(signer.certificate, text) if signer else ""


def _revocations(look: Look, cacerts: KubeObject) -> tuple[RevocationList, ...]:
    place = cacerts.ref.at(names.CRL)
    try:
        return tuple(RevocationList(place, ends) for ends in revocation_ends(look.text(cacerts, names.CRL)))
    except ValueError as error:
        look.broken.append(Unread(place, str(error)))
        return ()

"""The rules that two plugins share: what signs, is it loaded, does every published copy hold its root."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshtrust.certificates import Certificate, Kinship, Peer, chain
from meshtrust.durations import spoken
from meshtrust.findings import Level, Problem, Terms, check
from meshtrust.mesh import Anchor, Authority, Copy, Era, Kind, Mesh, Sight, by_trust_bundle, names
from meshtrust.objects import Ref

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime


def path(authority: Authority) -> tuple[Certificate, ...]:
    """From what signs up to its root, both included; empty where nothing verifies."""
    if authority.signer is None:
        return ()
    links = [anchor.certificate for anchor in authority.intermediates]
    return chain(authority.signer.certificate, links, authority.bundle)


def signing_root(authority: Authority) -> Certificate | None:
    """The root that every proxy must hold: none can be named of a CA that is not seen or does not verify."""
    links = path(authority)
    return links[-1] if links else None


def stored(mesh: Mesh) -> Iterator[Authority]:
    """The CAs whose Secrets this mesh should have."""
    return (ca for ca in mesh.authorities if ca.kind in {Kind.SELF_SIGNED, Kind.PLUGGED_IN})


def signers(mesh: Mesh) -> Iterator[tuple[Authority, Anchor]]:
    return ((authority, authority.signer) for authority in stored(mesh) if authority.signer)


def roots_now(mesh: Mesh) -> tuple[Certificate, ...]:
    """The roots that sign now: one, unless the instances of the control plane disagree.

    Where the CA is not loaded (`ca-loaded`) or was not seen, it is what is published at home.
    """
    published = [certificate for copy in home_copies(mesh) for certificate in copy.certificates]
    roots = [root for authority in mesh.authorities if (root := signing_root(authority))]
    if mesh.era is not Era.CITADEL and published and not any(root in published for root in roots):
        roots = published[:1]
    return tuple(dict.fromkeys(roots))


def home_copies(mesh: Mesh) -> tuple[Copy, ...]:
    """What the control plane itself lives by: the ClusterTrustBundle, or the copy in its own namespace."""
    bundles = tuple(copy for copy in mesh.copies if not copy.ref.namespace)
    return bundles or tuple(copy for copy in mesh.copies if copy.ref.namespace == mesh.namespace)


def dates(certificate: Certificate, now: datetime) -> str:
    """Say why a certificate is not valid now, or nothing where it is."""
    if now < certificate.not_before:
        return f"not valid yet, begins in {spoken(certificate.not_before - now)}"
    return f"expired {spoken(now - certificate.not_after)} ago" if now > certificate.not_after else ""


def lacks(
    held: Iterable[Certificate], root: Certificate, now: datetime, peer: Peer = Peer.EVERYONE
) -> tuple[str, Level] | None:
    """Say what a bundle holds instead of a root, and how bad that is for its reader; None where it holds it."""
    kin = {other: root.kinship(other) for other in held}
    if Kinship.SAME in kin.values():
        return None
    editions = [other for other in kin if other.stands_in_for(root, peer)]
    if valid := [other for other in editions if other.valid_at(now)]:
        until = max(other.not_after for other in valid)
        return f"holds another edition of the root, valid for {spoken(until - now)}: not moved yet", Level.WARNING
    if editions:
        return "holds only an edition of the root that is not valid now", Level.CRITICAL
    if Kinship.OTHER_IDENTIFIER in kin.values():
        return f"holds {Kinship.OTHER_IDENTIFIER}: Envoys of the two refuse each other", Level.CRITICAL
    if Kinship.OTHER_SUBJECT in kin.values():
        return f"holds {Kinship.OTHER_SUBJECT}: ztunnel and Go refuse it", Level.CRITICAL
    shown = ", ".join(other.short for other in tuple(kin)[:3]) or "nothing"
    return f"does not hold the root {root.short} but {shown}{': another key' if kin else ''}", Level.CRITICAL


@check(
    "certificates-read",
    Level.CRITICAL,
    says="every block of every bundle that was read is a certificate",
    needs=(),
    hint="openssl x509 -noout -text shows what the block is; Envoy refuses the whole bundle for one bad block",
)
def certificates_read(mesh: Mesh, _terms: Terms) -> Iterator[Problem]:
    unused = {authority.ref for authority in mesh.unused}
    for broken in mesh.broken:
        if broken.ref.at("") not in unused:
            yield Problem(broken.ref, broken.why, hint=_mended_otherwise(broken.why))


def _mended_otherwise(why: str) -> str:
    """What to do where there is no block to be looked at, or one that nobody should show around."""
    if why in {"empty", "no certificate in it"}:
        return "its writer puts a certificate there: does it run, and may it write? (of published copies it is istiod)"
    if "holds a private key" in why:
        return "take the key out; where that is no Secret, everybody who may read it has the key by now"
    return ""


@check(
    "ca-loaded",
    Level.CRITICAL,
    says="the CA in the Secret is the one that the control plane has loaded",
    needs=(Sight.CA, Sight.COPIES),
    hint="kubectl rollout restart the control plane of every revision, after the Secret has been proven right",
)
def ca_loaded(mesh: Mesh, terms: Terms) -> Iterator[Problem]:
    """What istiod has in memory shows in what it publishes at home. Citadel's ConfigMap lags: `copies-agree` has it."""
    if mesh.era is Era.CITADEL:
        return
    for authority, signer in signers(mesh):
        root = signing_root(authority)
        for copy in home_copies(mesh):
            if root and copy.certificates and (fault := lacks(copy.certificates, root, terms.now)):
                hint = _load(authority, root, copy.certificates)
                yield Problem(signer.ref, f"not loaded: {copy.ref} {fault[0]}", fault[1], hint=hint)


def _load(authority: Authority, root: Certificate, held: tuple[Certificate, ...]) -> str:
    """Say what loads it, where that is not what `ca-loaded` says in general."""
    if all(root.kinship(one) is Kinship.OTHER_KEY for one in held):
        return _DO_NOT_RESTART
    edition = any(one.stands_in_for(root) for one in held)
    return _GO_ON if edition and authority.kind is Kind.SELF_SIGNED else ""


_GO_ON = "kubectl istio-root transition goes on from there: it restarts the control plane, and waits for the copies"
_DO_NOT_RESTART = (
    "do NOT restart the control plane (scaling counts): it would sign with a key that nobody trusts; first put the CA "
    "that is loaded back into its Secret, or move to the new one root by root"
)


@check(
    "ca-waits",
    Level.WARNING,
    says="no other CA takes over when the control plane starts anew",
    needs=(Sight.CA, Sight.SETTINGS),
    hint="no restart, no scaling before this is settled: finish the move on purpose, or take cacerts away",
)
def ca_waits(mesh: Mesh, _terms: Terms) -> Iterator[Problem]:
    waiting = mesh.waiting
    if waiting is None:
        return
    if waiting.missing:
        files = ", ".join(waiting.missing)
        yield Problem(waiting.ref, f"incomplete ({files}): istiod will refuse to start with it", Level.CRITICAL)
        return
    roots = [root for authority in stored(mesh) if (root := signing_root(authority))]
    theirs = signing_root(waiting)
    same = theirs is not None and all(root.kinship(theirs) in {Kinship.SAME, Kinship.EDITION} for root in roots)
    if same:
        yield Problem(waiting.ref, "takes over at the next start, with the same root")
    else:
        yield Problem(
            waiting.ref,
            "takes over at the next start, with another root: proxies will refuse each other",
            Level.CRITICAL,
        )


@check(
    "copies-agree",
    Level.CRITICAL,
    says="every published copy holds the root that signs",
    needs=(Sight.COPIES,),
    hint="istiod writes them: is it running, and may it write there?",
)
def copies_agree(mesh: Mesh, terms: Terms) -> Iterator[Problem]:
    held = mesh.taken.union(copy.ref.namespace for copy in mesh.copies)
    for place in _published(mesh):
        if held.isdisjoint({place.namespace, ""}) and _should_publish(mesh):
            yield Problem(place, "it is missing", Level.WARNING)
    roots = roots_now(mesh)
    for copy in mesh.copies:
        for root in roots:
            if copy.certificates and (fault := lacks(copy.certificates, root, terms.now)):
                yield _of_copy(mesh, copy, *fault)


def _published(mesh: Mesh) -> tuple[Ref, ...]:
    """What must be there in any case: at home, and where it was asked for; or the one bundle of all namespaces."""
    if by_trust_bundle(instance for authority in mesh.authorities for instance in authority.instances):
        return (Ref("ClusterTrustBundle", "", names.TRUST_BUNDLE),)
    places = dict.fromkeys((mesh.namespace, mesh.asked))
    return tuple(Ref("ConfigMap", place, mesh.configmap) for place in places if place)


def _should_publish(mesh: Mesh) -> bool:
    seen = not any(gap.sight is Sight.COPIES for gap in mesh.gaps)
    return seen and mesh.era is Era.ISTIOD and any(ca.kind is not Kind.EXTERNAL for ca in mesh.authorities)


def _of_copy(mesh: Mesh, copy: Copy, detail: str, level: Level) -> Problem:
    if copy.left_behind:
        return Problem(copy.ref, f"{detail}; {copy.left_behind}", Level.WARNING)
    if mesh.era is Era.CITADEL:
        # Only node agents read it, and a Citadel that reloads does not write it.
        lags = "kubectl rollout restart deploy/istio-citadel writes it"
        return Problem(copy.ref, detail, level, hint=_DO_NOT_RESTART if level is Level.CRITICAL else lags)
    return Problem(copy.ref, detail, level)

"""The rules for the CA itself: is it whole, is it valid, does it last, does everybody hold its root."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from meshtrust.certificates import chain, refusal
from meshtrust.checks import dates, home_copies, path, signers, signing_root, stored
from meshtrust.durations import spoken
from meshtrust.findings import Level, Problem, Terms, Threshold, check
from meshtrust.mesh import Anchor, Authority, Era, Kind, Mesh, Role, Sight
from meshtrust.objects import Ref

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from meshtrust.certificates import Certificate

_CLOCK_TOLERANCE = timedelta(minutes=1)
# Of a self-signed CA alone: of another one `transition` touches nothing.
_EXTEND = "kubectl istio-root transition gives it ten more years"
_HEAL = "every handshake fails: kubectl istio-root transition gives it new dates, also while the control plane is down"


@check(
    "ca-stored",
    Level.CRITICAL,
    says="the CA that signs stands in its Secret",
    needs=(Sight.CA, Sight.SETTINGS),
    hint="keep the control plane from restarting (scaling counts) until the Secret is back: it would make a new key",
)
def ca_stored(mesh: Mesh, _terms: Terms) -> Iterator[Problem]:
    for authority in stored(mesh):
        if authority.key_ref is None:
            yield Problem(authority.ref, "no CA stands in its namespace: the one that signs lives in memory alone")


@check(
    "signer-valid",
    Level.CRITICAL,
    says="what signs is valid now, up to its root",
    needs=(Sight.CA,),
    hint="every handshake fails: have it issued anew, with the same key and subject, and put it into its Secret",
)
def signer_valid(mesh: Mesh, terms: Terms) -> Iterator[Problem]:
    for authority in stored(mesh):
        places = {anchor.certificate.fingerprint: anchor.ref for anchor in authority.anchors}
        for link in _path_now(authority, terms) or [anchor.certificate for anchor in authority.anchors[:1]]:
            if fault := dates(link, terms.now):
                hint = _HEAL if authority.kind is Kind.SELF_SIGNED else ""
                yield Problem(places[link.fingerprint], fault, certificate=link, hint=hint)


def _path_now(authority: Authority, terms: Terms) -> tuple[Certificate, ...]:
    """The path that is valid now where there is one: of several editions peers take the one that is."""
    if authority.signer is None:
        return ()
    links, roots = (
        [anchor.certificate for anchor in anchors if anchor.certificate.valid_at(terms.now)]
        for anchors in (authority.intermediates, authority.roots)
    )
    return chain(authority.signer.certificate, links, roots) or path(authority)


@check(
    "root-lasts",
    Level.WARNING,
    says="every root stays valid long enough to move away from it",
    needs=(),
    hint="plan its successor now: whoever issued it can issue it anew, with the same key and subject",
)
def root_lasts(mesh: Mesh, terms: Terms) -> Iterator[Problem]:
    for authority in mesh.authorities:
        top = signing_root(authority)
        for anchor in authority.anchors:
            root = anchor.certificate
            if authority.kind is Kind.PLUGGED_IN and anchor not in authority.roots:
                continue
            extra = top is not None and root != top
            hint = _EXTEND if authority.kind is Kind.SELF_SIGNED and not extra else ""
            yield from _ends(anchor, terms, at_most=Level.WARNING if extra else Level.CRITICAL, hint=hint)
    for anchor in _loaded_instead(mesh):
        yield from _ends(anchor, terms, at_most=Level.CRITICAL)


def _loaded_instead(mesh: Mesh) -> tuple[Anchor, ...]:
    """What signs in truth where the CA in the Secret is not loaded: the roots that are published at home."""
    roots = [root for authority in stored(mesh) if (root := signing_root(authority))]
    published = [(copy.ref, certificate) for copy in home_copies(mesh) for certificate in copy.certificates]
    if mesh.era is Era.CITADEL or not roots or any(certificate in roots for _, certificate in published):
        return ()
    return tuple(Anchor(ref, Role.COPY, certificate) for ref, certificate in published)


@check(
    "root-valid",
    Level.CRITICAL,
    says="every root that is trusted beside the one that signs is valid now",
    needs=(),
    hint="take it out of the bundle once no leaf of it is in use; where no other is left, its issuer must renew it now",
)
def root_valid(mesh: Mesh, terms: Terms) -> Iterator[Problem]:
    for authority in mesh.authorities:
        above = path(authority)
        # Where what signs is not seen, it may be any root that is valid.
        spared = authority.signer or any(root.valid_at(terms.now) for root in authority.bundle)
        for anchor in authority.roots:
            fault = dates(anchor.certificate, terms.now)
            if fault and anchor.certificate not in above:
                yield Problem(anchor.ref, fault, Level.WARNING if spared else None, certificate=anchor.certificate)
    loaded = _loaded_instead(mesh)
    spared = any(anchor.certificate.valid_at(terms.now) for anchor in loaded)
    for anchor in loaded:
        if fault := dates(anchor.certificate, terms.now):
            yield Problem(anchor.ref, fault, Level.WARNING if spared else None, certificate=anchor.certificate)


@check(
    "signer-lasts",
    Level.WARNING,
    says="what signs, and each certificate between it and its root, lasts long enough to be replaced",
    needs=(Sight.CA,),
    hint="issue its successor under the same root and put it into cacerts: istiod takes it over while it runs",
)
def signer_lasts(mesh: Mesh, terms: Terms) -> Iterator[Problem]:
    for authority in stored(mesh):
        used = _path_now(authority, terms) or [anchor.certificate for anchor in authority.anchors[:1]]
        for anchor in authority.anchors:
            below_root = authority.kind is Kind.PLUGGED_IN and anchor.certificate not in authority.bundle
            if below_root and anchor.certificate in used:
                yield from _ends(anchor, terms, at_most=Level.CRITICAL)


def _ends(anchor: Anchor, terms: Terms, *, at_most: Level, hint: str = "") -> Iterator[Problem]:
    """Judge how long a certificate lasts; one that is not valid now is another check's."""
    certificate = anchor.certificate
    if not certificate.valid_at(terms.now):
        return
    left = certificate.not_after - terms.now

    def is_short(threshold: Threshold) -> bool:
        return left < threshold.of(certificate)

    level = Level.CRITICAL if is_short(terms.crit) else Level.WARNING if is_short(terms.warn) else Level.OK
    if level is not Level.OK:
        yield Problem(anchor.ref, f"{spoken(left)} left", min(level, at_most), certificate=certificate, hint=hint)


@check(
    "key-matches",
    Level.CRITICAL,
    says="the private key and the certificate that signs belong together",
    needs=(Sight.CA,),
    hint="put the pair back together: istiod keeps the old one in memory and fails at its next start",
)
def key_matches(mesh: Mesh, _terms: Terms) -> Iterator[Problem]:
    for authority in stored(mesh):
        if authority.key_ref and authority.key_fault:
            yield Problem(authority.key_ref, authority.key_fault)


@check(
    "chain-verifies",
    Level.CRITICAL,
    says="what signs verifies up to a root of the bundle, and is sent along with each leaf",
    needs=(Sight.CA,),
    hint="cert-chain.pem must hold what signs and each intermediate above it, root-cert.pem the root above them",
)
def chain_verifies(mesh: Mesh, _terms: Terms) -> Iterator[Problem]:
    for authority, signer in signers(mesh):
        if not path(authority):
            above = [anchor.certificate for anchor in (*authority.intermediates, *authority.roots)]
            yield Problem(signer.ref, _nearest_miss(signer.certificate, above))
        elif authority.handed_ref and signer.certificate not in (*authority.handed, *authority.bundle):
            # Workloads are sent their leaf, this file and the roots (security/pkg/server/ca): never the signer itself.
            yield Problem(authority.handed_ref, "what signs is not in it: no peer can verify a leaf")


def _nearest_miss(signer: Certificate, above: Iterable[Certificate]) -> str:
    """Name an issuer of the right name and why it does not verify, else say that there is none."""
    for issuer in above:
        if issuer.subject_bytes == signer.issuer_bytes and issuer != signer:
            why = refusal(signer, issuer) or "no root stands above it"
            return f"{issuer.subject} {issuer.short} does not vouch for it: {why}"
    return "no certificate of its issuer stands above it"


@check(
    "ca-may-sign",
    Level.CRITICAL,
    says="what signs, and all above it, may sign (CA:TRUE, keyCertSign)",
    needs=(Sight.CA,),
    hint="RFC 5280 4.2.1.3 and 4.2.1.9; issue it again as a CA",
)
def ca_may_sign(mesh: Mesh, _terms: Terms) -> Iterator[Problem]:
    for authority in stored(mesh):
        for anchor in authority.anchors:
            certificate = anchor.certificate
            if not certificate.is_ca:
                yield Problem(anchor.ref, "it is no CA (CA:TRUE is missing)", certificate=certificate)
            elif certificate.can_sign is False:
                yield Problem(anchor.ref, "its keyUsage lacks keyCertSign", certificate=certificate)
            elif certificate.can_sign is None:
                yield Problem(
                    anchor.ref, "it has no keyUsage: strict peers refuse it", Level.WARNING, certificate=certificate
                )


@check(
    "signature-strong",
    Level.CRITICAL,
    says="no signature is made with SHA-1 or MD5",
    needs=(Sight.CA,),
    hint="issue it again with SHA-256: Go (istiod, the agents, webhooks) refuses such a signature below a root",
)
def signature_strong(mesh: Mesh, _terms: Terms) -> Iterator[Problem]:
    for authority in stored(mesh):
        for anchor in authority.anchors:
            certificate = anchor.certificate
            if certificate.weakly_signed:
                # Nobody verifies the signature of a trust anchor.
                level = Level.WARNING if certificate.self_issued else None
                yield Problem(anchor.ref, f"signed with {certificate.signature}", level, certificate=certificate)


@check(
    "crl-current",
    Level.CRITICAL,
    says="the CA's revocation list is not past its next update",
    needs=(Sight.CA,),
    hint="put a fresh ca-crl.pem into cacerts: with an old one Envoy (1.27) and ztunnel (1.29) refuse every peer",
)
def crl_current(mesh: Mesh, terms: Terms) -> Iterator[Problem]:
    for authority in stored(mesh):
        for revocation in authority.revocations:
            if revocation.ends is not None and revocation.ends < terms.now:
                yield Problem(revocation.ref, f"its next update was due {spoken(terms.now - revocation.ends)} ago")


@check(
    "serving-lasts",
    Level.WARNING,
    says="istiod's serving certificate is valid and lasts",
    needs=(Sight.SERVING,),
    hint="its issuer (cert-manager) renews it; istiod before 1.31 must be restarted where only its CA changed",
)
def serving_lasts(mesh: Mesh, terms: Terms) -> Iterator[Problem]:
    for anchor in mesh.serving:
        if fault := dates(anchor.certificate, terms.now):
            yield Problem(anchor.ref, fault, Level.CRITICAL, certificate=anchor.certificate)
        yield from _ends(anchor, terms, at_most=Level.CRITICAL)


@check(
    "instances-agree",
    Level.CRITICAL,
    says="all instances of the control plane sign with one CA",
    needs=(Sight.CA, Sight.SETTINGS),
    hint="some were restarted after the CA changed, some not: restart every revision",
)
def instances_agree(mesh: Mesh, _terms: Terms) -> Iterator[Problem]:
    everyone = (*mesh.authorities, *mesh.rivals)
    if len(everyone) > 1:
        for authority in everyone:
            who = ", ".join(f"{instance.ref.namespace}/{instance.ref.name}" for instance in authority.instances)
            yield Problem(authority.ref, f"{authority.kind}, the CA of {who}")


@check(
    "clocks-agree",
    Level.WARNING,
    says="the clocks of the API server and of this machine agree",
    needs=(Sight.CLOCK,),
    hint="set the clock that is wrong before trusting what was said about time",
)
def clocks_agree(mesh: Mesh, _terms: Terms) -> Iterator[Problem]:
    skew = mesh.clock_skew
    if skew is not None and abs(skew) > _CLOCK_TOLERANCE:
        side = "ahead of" if skew > timedelta(0) else "behind"
        yield Problem(Ref("Server", "", "kube-apiserver"), f"its clock is {spoken(skew)} {side} this machine's")


@check(
    "key-hidden",
    Level.WARNING,
    says="no private key lies where it does not belong",
    needs=(),
    hint="whoever reads it can be any workload: delete or protect it; if it left your hands, the CA needs a new key",
)
def key_hidden(mesh: Mesh, _terms: Terms) -> Iterator[Problem]:
    for place in mesh.exposed:
        yield Problem(place, "holds a private key")

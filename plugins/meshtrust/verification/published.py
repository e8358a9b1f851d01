"""What must be true of a mesh as a whole: its signing root, what istiod publishes and patches, its own certificate."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from meshtrust.certificates import Peer, chain
from meshtrust.checks import (
    ca_loaded,
    ca_waits,
    certificates_read,
    copies_agree,
    dates,
    home_copies,
    lacks,
    roots_now,
    signing_root,
)
from meshtrust.findings import Level, Problem, Terms, check
from meshtrust.mesh import Copy, Era, Kind, Mesh, Sight
from meshtrust.objects import Ref
from meshtrust.verification.issuing import unfit

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from meshtrust.findings import Finding


@check(
    "root-known",
    Level.CRITICAL,
    says="the root that signs is known, it is valid now, and what signs below it is, too",
    needs=(Sight.CA, Sight.COPIES),
    hint="kubectl istio-root expiry tells more of the CA",
)
def root_known(mesh: Mesh, terms: Terms) -> Iterator[Problem]:
    roots = roots_now(mesh)
    for ca in unfit(mesh, terms.now):
        yield Problem(ca.place, ca.fault, hint=ca.hint)
    home = Ref("Namespace", "", mesh.namespace)
    places = {anchor.certificate: anchor.ref for authority in mesh.authorities for anchor in authority.anchors}
    own = {signing_root(authority) for authority in mesh.authorities if authority.kind is Kind.SELF_SIGNED}
    for root in roots:
        if fault := dates(root, terms.now):
            hint = "kubectl istio-root transition --apply" if root in own and terms.now > root.not_after else ""
            yield Problem(places.get(root, home), f"the root that signs: {fault}", certificate=root, hint=hint)
    if not roots:
        yield Problem(home, "no root is known that the copies and proxies could be held against", Level.UNKNOWN)


@check(
    "copies-complete",
    Level.WARNING,
    says="every namespace has its copy of the root, every ServiceAccount of Citadel's its Secret",
    needs=(Sight.COPIES, Sight.NAMESPACES, Sight.WORKLOADS, Sight.ACCOUNTS),
    hint="the control plane writes them: is it running, and may it write there?",
)
def copies_complete(mesh: Mesh, _terms: Terms) -> Iterator[Problem]:
    for place in mesh.missing:
        yield Problem(place, "it is missing")


@check(
    "webhooks-agree",
    Level.CRITICAL,
    says="every webhook of Istio's trusts the certificate that its control plane serves with",
    needs=(Sight.WEBHOOKS, Sight.COPIES),
    hint="istiod patches them by its revision: is it running, and may it patch? (seconds after its start)",
)
def webhooks_agree(mesh: Mesh, terms: Terms) -> Iterator[Problem]:
    for hook in mesh.webhooks:
        if fault := webhook_fault(mesh, hook, terms):
            detail, level = fault
            if hook.left_behind:
                yield Problem(
                    hook.ref,
                    f"{detail}; {hook.left_behind}",
                    Level.WARNING,
                    hint="delete it, or bring back what it calls",
                )
            else:
                yield Problem(hook.ref, detail, level, hint=_patched_by(mesh, hook))


def _patched_by(mesh: Mesh, hook: Copy) -> str:
    """Say who patches it, and what makes them, where that is not istiod: before it each has a webhook of its own."""
    if mesh.era is not Era.CITADEL:
        return ""
    name = "galley" if hook.ref.kind.startswith("Validating") else "sidecar-injector"
    restart = f"kubectl rollout restart deploy/istio-{name} -n {mesh.namespace}"
    return f"{name} patches it once its Secret of Citadel's holds the root, old ones at their start alone: {restart}"


def webhook_fault(mesh: Mesh, hook: Copy, terms: Terms) -> tuple[str, Level] | None:
    """The API server is Go; a bundle of the user's own that vouches for an `istiod-tls` of the user's is fine."""
    if not hook.certificates and any(broken.ref == hook.ref for broken in mesh.broken):
        return None  # `certificates-read` says what is in it
    if not hook.certificates:
        return "its caBundle holds no certificate", Level.CRITICAL
    faults = [fault for root in roots_now(mesh) if (fault := lacks(hook.certificates, root, terms.now, Peer.OCTETS))]
    vouched = mesh.serving and all(
        chain(anchor.certificate, (), hook.certificates, Peer.OCTETS) for anchor in mesh.serving
    )
    return max(faults, key=lambda fault: fault[1]) if faults and not vouched else None


@check(
    "serving-trusted",
    Level.CRITICAL,
    says="istiod's certificate in istiod-tls is in date, and verifies against what is published",
    needs=(Sight.SERVING, Sight.COPIES),
    hint="its issuer (cert-manager) renews it; istiod before 1.31 must be restarted where only its CA changed",
)
def serving_trusted(mesh: Mesh, terms: Terms) -> Iterator[Problem]:
    published = [certificate for copy in home_copies(mesh) for certificate in copy.certificates]
    links = [anchor.certificate for authority in mesh.authorities for anchor in authority.anchors]
    for anchor in mesh.serving:
        if fault := dates(anchor.certificate, terms.now):
            yield Problem(anchor.ref, fault)
        if published and not chain(anchor.certificate, links, published, Peer.OCTETS):
            yield Problem(anchor.ref, "it does not verify against the root that proxies are handed")


def named_once(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """The same with each object once, under the worst that is said of it, with all that is wrong with it."""
    everything = tuple(findings)
    said: dict[Ref, list[tuple[Level, str]]] = {}
    for finding in everything:
        for problem in finding.problems:
            said.setdefault(problem.place, []).append((finding.level_of(problem), problem.detail))
    named: set[Ref] = set()
    found = []
    for finding in everything:
        kept = []
        for problem in finding.problems:
            level, place = finding.level_of(problem), problem.place
            if place not in named and level == max(worst for worst, _ in said[place]):
                named.add(place)
                kept.append(replace(problem, detail="; ".join(dict.fromkeys(detail for _, detail in said[place]))))
        levels = [finding.level_of(problem) for problem in kept] + ([Level.UNKNOWN] if finding.unseen else [])
        found.append(replace(finding, problems=tuple(kept), level=max(levels, default=Level.OK)))
    return tuple(found)


MESH_CHECKS = (
    root_known,
    certificates_read,
    ca_loaded,
    ca_waits,
    copies_agree,
    copies_complete,
    webhooks_agree,
    serving_trusted,
)

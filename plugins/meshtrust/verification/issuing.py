"""What is wrong with a CA itself, so that no leaf of it verifies, whoever holds it: no restart mends that."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from meshtrust.certificates import Certificate, chain
from meshtrust.checks import dates, path, signers

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from meshtrust.mesh import Anchor, Authority, Mesh
    from meshtrust.objects import Ref

_NO_RESTART = "no restart before that: the next leaf would verify no better"
_REISSUE = f"have it issued anew, with the same key and subject, and put it into its Secret; {_NO_RESTART}"
_AS_A_CA = f"issue it again as a CA (RFC 5280 4.2.1.3 and 4.2.1.9); {_NO_RESTART}"
_WHOLE = f"mend the CA first (kubectl istio-root expiry tells more of it); {_NO_RESTART}"


@dataclass(frozen=True, slots=True)
class Unfit:
    """A CA of which no leaf verifies: what it signs with, where the fault lies, and what mends it."""

    signer: Certificate
    place: Ref
    fault: str
    hint: str

    def has_signed(self, leaf: Certificate) -> bool:
        """By its names alone: where the signer is no CA, nobody asks whose signature it is."""
        theirs, ours = leaf.authority_key_identifier, self.signer.subject_key_identifier
        return leaf.issuer_bytes == self.signer.subject_bytes and (theirs is None or ours is None or theirs == ours)


def unfit(mesh: Mesh, now: datetime) -> Iterator[Unfit]:
    """The CAs of a mesh that are no good; a root that is not valid is another matter: it ends with all its holders."""
    for authority, signer in signers(mesh):
        if found := _unfit(authority, signer, now):
            yield found


def _unfit(authority: Authority, signer: Anchor, now: datetime) -> Unfit | None:
    certificate, place = signer.certificate, signer.ref
    if not certificate.is_ca:
        return Unfit(certificate, place, "what signs is no CA (CA:TRUE is missing)", _AS_A_CA)
    if certificate.can_sign is False:
        return Unfit(certificate, place, "what signs may not: its keyUsage lacks keyCertSign", _AS_A_CA)
    links = _path_now(authority, certificate, now)
    if not links:
        return Unfit(certificate, place, "what signs does not verify up to a root of its bundle", _WHOLE)
    places = {anchor.certificate: anchor.ref for anchor in authority.anchors}
    for link in links[:-1]:
        if fault := dates(link, now):
            what = "what signs" if link == certificate else f"{link.short} above what signs"
            return Unfit(certificate, places[link], f"{what}: {fault}", _REISSUE)
    return None


def _path_now(authority: Authority, signer: Certificate, now: datetime) -> tuple[Certificate, ...]:
    """The path whose links are valid now where there is one: of several editions peers take the one that is."""
    links = [anchor.certificate for anchor in authority.intermediates if anchor.certificate.valid_at(now)]
    return chain(signer, links, authority.bundle) or path(authority)

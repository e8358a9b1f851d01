"""Who vouches for whom: the rules by which the peers of a mesh verify each other (RFC 5280 6.1, without dates)."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, cast

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509.oid import SignatureAlgorithmOID

from meshtrust.certificates.faults import UNREADABLE, first_line
from meshtrust.certificates.keys import kind_of_key
from meshtrust.certificates.model import Peer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes

    from meshtrust.certificates.model import Certificate

_WEAK_HASHES = {
    SignatureAlgorithmOID.RSA_WITH_SHA1: hashes.SHA1(),  # noqa: S303 - to judge it, not to use it
    SignatureAlgorithmOID.RSA_WITH_MD5: hashes.MD5(),  # noqa: S303 - as above
}
_ECDSA_SHA1 = ec.ECDSA(hashes.SHA1())  # noqa: S303 - as above
_PKCS1, _SHA256 = padding.PKCS1v15(), hashes.SHA256()


def refusal(child: Certificate, issuer: Certificate, peer: Peer = Peer.EVERYONE) -> str:
    """Say why a peer of a mesh refuses `issuer` as the issuer of `child`, or nothing where it accepts it.

    The strictest of Go, OpenSSL, BoringSSL and rustls in each point unless one is named; dates are not looked at.
    """
    same_octets = child.issuer_bytes == issuer.subject_bytes
    if not same_octets and (peer.minds_octets or child.parsed.issuer != issuer.parsed.subject):
        return "its subject is not the issuer's name, octet by octet"  # Go, rustls
    theirs, ours = child.authority_key_identifier, issuer.subject_key_identifier
    if peer.minds_identifiers and theirs is not None and ours is not None and theirs != ours:
        return "its key identifier is not the one that was signed for"  # OpenSSL, BoringSSL
    if not issuer.is_ca:
        return "it is no CA (CA:TRUE is missing)"
    if issuer.can_sign is False:
        return "its keyUsage does not allow signing certificates"
    try:
        _verify_signature(child, issuer, same_octets=same_octets)
    except InvalidSignature:
        return "the signature is another key's"
    except UNREADABLE as error:
        return f"the signature cannot be verified ({first_line(error)})"
    return ""


def _verify_signature(certificate: Certificate, issuer: Certificate, *, same_octets: bool) -> None:
    """As `verify_directly_issued_by`, which no longer takes the hashes that `Certificate.weakly_signed` reports.

    Nor does it take a name in other octets, which BoringSSL does.
    """
    public, child = _public_key(issuer), certificate.parsed
    kind = kind_of_key(type(public))
    if kind is rsa.RSAPublicKey:
        key = cast("rsa.RSAPublicKey", public)
        oid = child.signature_algorithm_oid
        if oid == SignatureAlgorithmOID.RSA_WITH_SHA256:  # what Istio signs with
            key.verify(child.signature, certificate.tbs, _PKCS1, _SHA256)
        elif weak := _WEAK_HASHES.get(oid):
            key.verify(child.signature, certificate.tbs, _PKCS1, weak)
        else:
            scheme = cast("padding.AsymmetricPadding", child.signature_algorithm_parameters)
            digest = cast("hashes.HashAlgorithm", child.signature_hash_algorithm)
            key.verify(child.signature, certificate.tbs, scheme, digest)
    elif kind is ec.EllipticCurvePublicKey:
        weakly = child.signature_algorithm_oid == SignatureAlgorithmOID.ECDSA_WITH_SHA1
        curve = _ECDSA_SHA1 if weakly else cast("ec.ECDSA", child.signature_algorithm_parameters)
        cast("ec.EllipticCurvePublicKey", public).verify(child.signature, certificate.tbs, curve)
    elif same_octets:
        child.verify_directly_issued_by(issuer.parsed)
    else:
        raise ValueError("a kind of key that no mesh uses")


@lru_cache(maxsize=64)  # few sign, and each for thousands
def _public_key(issuer: Certificate) -> CertificatePublicKeyTypes:
    return issuer.parsed.public_key()


def chain(
    certificate: Certificate,
    candidates: Iterable[Certificate],
    roots: Iterable[Certificate],
    peer: Peer = Peer.EVERYONE,
) -> tuple[Certificate, ...]:
    """Build the path from a certificate up to a root (RFC 5280 6.1 without dates), both ends included.

    Nothing comes back where no path verifies. Among several editions the one that ends last is taken.
    """
    links, anchors = (tuple(sorted(some, key=lambda one: one.not_after, reverse=True)) for some in (candidates, roots))
    return _climb((certificate,), links, anchors, peer)


def _climb(
    path: tuple[Certificate, ...], candidates: tuple[Certificate, ...], roots: tuple[Certificate, ...], peer: Peer
) -> tuple[Certificate, ...]:
    top = path[-1]
    if any(top.fingerprint == root.fingerprint for root in roots):
        return path
    authorities = sum(1 for link in path if link.is_ca and not link.self_issued)
    for issuer in (*roots, *candidates):
        too_long = issuer.path_length is not None and authorities > issuer.path_length
        if issuer in path or too_long or refusal(top, issuer, peer):
            continue
        if issuer in roots:
            return (*path, issuer)
        if whole := _climb((*path, issuer), candidates, roots, peer):
            return whole
    return ()

"""Signing with the key of a CA: read for it and forgotten, and no word of it is ever said, not even by an error."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from meshtrust.certificates.der import BIT_STRING, SEQUENCE, TbsCertificate, element
from meshtrust.certificates.faults import UNREADABLE
from meshtrust.certificates.keys import pair_fault
from meshtrust.errors import ToolError

if TYPE_CHECKING:
    from meshtrust.certificates.model import Certificate

    CaKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
    Parameters = padding.PKCS1v15 | padding.PSS | ec.ECDSA | None

# AlgorithmIdentifiers of RFC 4055, 5758 and 8410, as DER.
_SHA256_WITH_RSA = bytes.fromhex("300d06092a864886f70d01010b0500")
_ECDSA_WITH_SHA256 = bytes.fromhex("300a06082a8648ce3d040302")
_ECDSA_WITH_LONGER = {
    384: (bytes.fromhex("300a06082a8648ce3d040303"), hashes.SHA384()),
    521: (bytes.fromhex("300a06082a8648ce3d040304"), hashes.SHA512()),
}
_ED25519 = bytes.fromhex("300506032b6570")
_STRONG = (hashes.SHA256, hashes.SHA384, hashes.SHA512)


class Unsigned(ToolError):
    """Nothing was signed: what asks for it cannot be, or the key cannot do it. The text holds no word of the key."""

    status = 2


@dataclass(frozen=True, slots=True)
class Signer:
    """The key of a CA, and the one way in which it signs: `algorithm` is its AlgorithmIdentifier, as DER."""

    key: CaKey = field(repr=False)
    algorithm: bytes
    parameters: Parameters
    digest: hashes.HashAlgorithm | None

    def certificate(self, tbs: bytes) -> bytes:
        """Sign a TBSCertificate that names this algorithm (RFC 5280 4.1.1), and give the whole as DER."""
        return element(SEQUENCE, tbs + self.algorithm + element(BIT_STRING, b"\0" + self._signature(tbs)))

    def _signature(self, tbs: bytes) -> bytes:
        match self.key, self.parameters, self.digest:
            case (
                rsa.RSAPrivateKey() as key,
                padding.PKCS1v15() | padding.PSS() as scheme,
                hashes.HashAlgorithm() as sha,
            ):
                return key.sign(tbs, scheme, sha)
            case ec.EllipticCurvePrivateKey() as key, ec.ECDSA() as scheme, _:
                return key.sign(tbs, scheme)
            case ed25519.Ed25519PrivateKey() as key, None, _:
                return key.sign(tbs)
        raise Unsigned("this kind of key does not sign in this way")


def signer(ca: Certificate, key_pem: str) -> Signer:
    """The key of this certificate, which signs as it was signed, or as Go would where that was weaker than SHA-256.

    Unlike elsewhere, a key is taken only where its parts belong together: a wrong signature would give it away.
    """
    key = _key(ca, key_pem)
    return _as_signed(ca, key) or _as_go_signs(key)


def istiod_signer(ca: Certificate, key_pem: str) -> Signer:
    """The same key, which signs as istiod does for workloads, however the CA itself was signed."""
    return _as_go_signs(_key(ca, key_pem))


def _key(ca: Certificate, key_pem: str) -> CaKey:
    key = pair_fault(ca, key_pem) or _private_half(key_pem.encode())
    if isinstance(key, str):
        raise Unsigned(f"the key cannot sign for {ca.subject}: {key}")
    return key


def _private_half(pem: bytes) -> CaKey | str:
    """The key, or why it is none: said only outside of `except`, whose error saw the key and would go along."""
    if b"PRIVATE KEY-----" not in pem:
        return "this is its public half alone, as a recording holds it"
    try:
        key = load_pem_private_key(pem, password=None)
    except UNREADABLE:
        return "its parts do not belong together"
    if isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey):
        return key
    return "it is of a kind that no mesh uses (RSA, EC and Ed25519 are)"


def _as_signed(ca: Certificate, key: CaKey) -> Signer | None:
    """As the certificate itself was signed, parameters and all, where that is strong."""
    algorithm = TbsCertificate.of(ca.tbs).algorithm
    try:
        parameters, digest = ca.parsed.signature_algorithm_parameters, ca.parsed.signature_hash_algorithm
    except UNREADABLE:
        return None
    strong = isinstance(digest, _STRONG) or isinstance(key, ed25519.Ed25519PrivateKey)
    return Signer(key, algorithm, parameters, digest) if strong else None


def _as_go_signs(key: CaKey) -> Signer:
    """As Go does where it is not told otherwise, which istiod never does: SHA-256, and longer for long EC keys."""
    if isinstance(key, rsa.RSAPrivateKey):
        return Signer(key, _SHA256_WITH_RSA, padding.PKCS1v15(), hashes.SHA256())
    if isinstance(key, ec.EllipticCurvePrivateKey):
        algorithm, digest = _ECDSA_WITH_LONGER.get(key.curve.key_size, (_ECDSA_WITH_SHA256, hashes.SHA256()))
        return Signer(key, algorithm, ec.ECDSA(digest), digest)
    return Signer(key, _ED25519, None, None)

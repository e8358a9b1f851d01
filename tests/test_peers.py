"""Envoy, ztunnel and Go mind different octets: who accepts which leaf under which root."""

from __future__ import annotations

from dataclasses import replace

import pytest

from meshes import NOW, ROOT, STRANGE
from meshtrust.certificates import Certificate, Peer, chain, parse_pem, refusal
from sandbox import Ca, Leaf
from sandbox.issuing import ca_certificate, leaf_certificate, pem

EC = Ca(key="ec", key_type="ec")


def root(ca: Ca) -> Certificate:
    (found,) = parse_pem(pem([ca_certificate(ca, NOW)])).certificates
    return found


def leaf(ca: Ca) -> Certificate:
    (found,) = parse_pem(pem([leaf_certificate(Leaf(), ca, "spiffe://x/ns/a/sa/b", NOW, era="istiod")])).certificates
    return found


@pytest.mark.parametrize("ca", [ROOT, EC, replace(ROOT, signature="sha384")])
@pytest.mark.parametrize(
    ("change", "accepting"),
    [
        ({}, {Peer.ENVOY, Peer.OCTETS, Peer.EVERYONE}),
        ({"identifier": "sha1"}, {Peer.OCTETS}),
        ({"identifier": "none"}, {Peer.ENVOY, Peer.OCTETS, Peer.EVERYONE}),
        ({"string_type": "utf8"}, {Peer.ENVOY}),
        ({"string_type": "utf8", "identifier": "sha1"}, set()),
        ({"key": "strange", "key_type": "rsa"}, set()),
        ({"key": "strange", "key_type": "rsa", "string_type": "utf8", "identifier": "none"}, set()),
    ],
)
def test_each_peer_accepts_what_it_does_not_mind(ca: Ca, change: dict[str, str], accepting: set[Peer]) -> None:
    other = root(replace(ca, **change))  # type: ignore[arg-type]  # of the literals
    assert {peer for peer in Peer if not refusal(leaf(ca), other, peer)} == accepting
    assert {peer for peer in Peer if chain(leaf(ca), (), [other], peer)} == accepting
    assert {peer for peer in Peer if other.stands_in_for(root(ca), peer)} == accepting


def test_the_uris_of_a_leaf_are_its_identity() -> None:
    assert (leaf(ROOT).uris, root(STRANGE).uris) == (("spiffe://x/ns/a/sa/b",), ())

"""Who refuses whom: in a mesh between two roots each leaf is held against what the others hold."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from meshtrust.certificates import Certificate, Peer
from meshtrust.verification.holding import verifies

if TYPE_CHECKING:
    from collections.abc import Iterator

    from meshtrust.objects import Ref
    from meshtrust.verification.holding import Case

_Links = tuple[Certificate, ...]
_Kind = tuple[str, bytes, bytes | None, bool | None, frozenset[str]]
_Held = tuple[str, Peer, frozenset[Certificate]]
_Pair = tuple[_Kind | None, _Held | None, bool]


class Pairs:
    """Grows while proxies are judged. Meshes have few roots: it compares kinds of leaves, not leaves.

    A kind are those of one mesh with the same issuer, key identifier and certificates above them: one stands for all.
    """

    def __init__(self) -> None:
        self._kinds: dict[_Kind, _Links] = {}
        self._seen: dict[Ref, _Pair] = {}
        self._alike: dict[_Pair, _Pair] = {}  # one object for all that are equal

    def see(self, case: Case, home: str, *, trusted: bool) -> None:
        """Remember a proxy; one that holds a wrong root (`trusted` is false) refuses others, and that is said of it."""
        holding = case.holding
        if holding.signer:
            return
        kind: _Kind | None = None
        if holding.chain and not case.blamed:  # everybody refuses it, and that is the CA's fault
            leaf, above = holding.chain[0], frozenset(one.fingerprint for one in holding.chain[1:])
            kind = (home, leaf.issuer_bytes, leaf.authority_key_identifier, case.signed, above)
            self._kinds.setdefault(kind, holding.chain)
        held: _Held | None = None
        if holding.roots and trusted:
            held = (home, holding.peer, frozenset(holding.roots))
        pair = (kind, held, case.moved and (case.signed is not False or bool(case.blamed)))
        self._seen[holding.place] = self._alike.setdefault(pair, pair)

    def forget(self, place: Ref) -> None:
        self._seen.pop(place, None)

    def refused(self) -> Iterator[tuple[Ref, str]]:
        """Each proxy that is the odd one of two of which one refuses the other, and how many the others are.

        Those are in order that hold the root that signs, with a leaf of it: where one of these two is, it is the other.
        """
        seen = Counter(self._seen.values())
        leaves = dict.fromkeys(kind for kind, _, _ in seen if kind)
        bundles = dict.fromkeys(held for _, held, _ in seen if held)
        refusals = [
            (kind, held)
            for kind in leaves
            for held in bundles
            if kind[0] == held[0] and not verifies(self._kinds[kind], held[2], held[1])
        ]
        said = _said(refusals, seen)
        for place, (kind, held, _) in self._seen.items():
            if details := [said[odd] for odd in (kind, held) if odd and odd in said]:
                yield place, "; ".join(details)


def _said(refusals: list[tuple[_Kind, _Held]], seen: Counter[_Pair]) -> dict[_Kind | _Held, str]:
    """What is said of the leaves, and of the bundles, that are to blame."""
    kinds = {kind for kind, _, orderly in seen if orderly}
    bundles = {held for _, held, orderly in seen if orderly}
    odd_leaves = {kind for kind, held in refusals if held in bundles}
    odd_bundles = {held for kind, held in refusals if kind in kinds}
    refused: dict[_Kind, list[_Held]] = {}
    refusing: dict[_Held, list[_Kind]] = {}
    for kind, held in refusals:
        if kind in odd_leaves or held not in odd_bundles:
            refused.setdefault(kind, []).append(held)
        if held in odd_bundles or kind not in odd_leaves:
            refusing.setdefault(held, []).append(kind)
    return {
        **{kind: _refused(kind, by, seen) for kind, by in refused.items()},
        **{held: _refusing(held, those, seen) for held, those in refusing.items()},
    }


def _refused(own: _Kind, bundles: list[_Held], seen: Counter[_Pair]) -> str:
    number = sum(number for (kind, held, _), number in seen.items() if held in bundles and kind != own)
    if not number:
        return "nobody who holds what it holds accepts its leaf"
    trusted = ", ".join(sorted({root.short for *_, roots in bundles for root in roots})[:3])
    return f"{number} {'proxy refuses' if number == 1 else 'proxies refuse'} its leaf, trusting only {trusted}"


def _refusing(own: _Held, kinds: list[_Kind], seen: Counter[_Pair]) -> str:
    number = sum(number for (kind, held, _), number in seen.items() if kind in kinds and held != own)
    if not number:
        return "it refuses leaves like its own"
    return f"it refuses the {'leaf of 1 proxy' if number == 1 else f'leaves of {number} proxies'}"

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
_Pair = tuple[_Kind | None, _Held | None]


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
        if holding.chain:
            leaf, above = holding.chain[0], frozenset(one.fingerprint for one in holding.chain[1:])
            kind = (home, leaf.issuer_bytes, leaf.authority_key_identifier, case.signed, above)
            self._kinds.setdefault(kind, holding.chain)
        held: _Held | None = None
        if holding.roots and trusted:
            held = (home, holding.peer, frozenset(holding.roots))
        pair = (kind, held)
        self._seen[holding.place] = self._alike.setdefault(pair, pair)

    def forget(self, place: Ref) -> None:
        self._seen.pop(place, None)

    def refused(self) -> Iterator[tuple[Ref, str]]:
        """Each proxy whose leaf others refuse, and how many those are."""
        verifiers = Counter(held for _, held in self._seen.values() if held)
        said = {kind: _refusal(kind[0], links, verifiers) for kind, links in self._kinds.items()}
        for place, (kind, _) in self._seen.items():
            if kind and said[kind]:
                yield place, said[kind]


def _refusal(home: str, leaf: _Links, verifiers: Counter[_Held]) -> str:
    refusing = [held for held in verifiers if held[0] == home and not verifies(leaf, held[2], held[1])]
    number = sum(verifiers[held] for held in refusing)
    if not number:
        return ""
    trusted = ", ".join(sorted({root.short for *_, roots in refusing for root in roots})[:3])
    return f"{number} {'proxy refuses' if number == 1 else 'proxies refuse'} its leaf, trusting only {trusted}"

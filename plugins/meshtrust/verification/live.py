"""The live half: what every running proxy holds in its memory."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from functools import lru_cache
from sys import intern
from time import monotonic
from typing import TYPE_CHECKING

from meshtrust.certificates import Peer
from meshtrust.errors import NotAllowed, ToolError
from meshtrust.findings import Level
from meshtrust.mesh import Gap, Memory, Proxy, ProxyKind, Shown, Sight
from meshtrust.mesh.restarts import REMADE, restart
from meshtrust.objects import Ref
from meshtrust.verification.asking import Answer, Asking
from meshtrust.verification.holding import Case, Half, Holding, Span, bundle_of, span_of
from meshtrust.verification.keeping import SEEK
from meshtrust.verification.rules import root_held
from meshtrust.verification.tally import Row, level_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import datetime

    from meshtrust.certificates import Certificate
    from meshtrust.mesh import Mesh
    from meshtrust.source import Source
    from meshtrust.verification.holding import Reference, Vouched
    from meshtrust.verification.pairs import Pairs
    from meshtrust.verification.tally import Tally

_UNASKABLE = {
    ProxyKind.PROXYLESS: "proxyless gRPC has no admin interface that could be asked",
    ProxyKind.AGENTGATEWAY: "an agentgateway has no admin interface that could be asked",
}
_MOUNTED = timedelta(minutes=2)  # kubelet looks each minute or so, then the agent waits for 10 s (Istio 1.0-1.4)
_FIRST_ROOT = "its certificates are files, and of their bundle its Envoy shows only the first root"


@dataclass(slots=True)
class Register:
    """Certificates by their serials, to know again what an Envoy with files shows without the octets."""

    roots: dict[int, Certificate] = field(default_factory=dict)
    leaves: dict[int, Vouched] = field(default_factory=dict)
    complete: bool = False  # whether the Secrets were asked for that would show whose a leaf is

    @classmethod
    def of(cls, meshes: Iterable[Mesh], tally: Tally, *, complete: bool = False) -> Register:
        told = [root for mesh in meshes for root in bundle_of(mesh)]
        copies = [root for mesh in meshes for copy in mesh.copies for root in copy.certificates]
        kept = [ca.previous.certificate for mesh in meshes for ca in mesh.authorities if ca.previous]
        roots = {root.serial: root for root in (*kept, *told, *copies, *tally.roots)}
        return cls(roots, dict(tally.leaves), complete)


@dataclass(frozen=True, slots=True)
class Looking:
    """All that judging the proxies needs, and what it fills."""

    source: Source
    references: Mapping[str, Reference]  # by the namespace of the control plane
    register: Register
    tally: Tally
    pairs: Pairs
    concurrency: int
    progress: Callable[[str], None]
    searched: tuple[str, ...] | None = None  # the only namespaces in which control planes could be looked for
    namespace: str = ""  # of which ztunnels elsewhere are asked: theirs are the identities of all namespaces of a node

    def look(self, proxies: Iterable[Proxy], now: datetime, deadline: float | None) -> tuple[Proxy, ...]:
        """Ask each proxy that can be asked and judge it; gives back those that stayed unseen."""
        left: dict[Ref, Proxy] = {}
        for proxy in proxies:
            if why := self._unsought(proxy):
                self._miss(proxy, why, hint=SEEK.format(home=proxy.home), lasts=True)
            elif why := _unaskable(proxy):
                self.forget(proxy.ref)
                self._miss(proxy, why, lasts=proxy.kind in _UNASKABLE)
            else:
                left[proxy.place] = proxy
        total, done, failed, begin = len(left), 0, 0, monotonic()
        unseen: list[Proxy] = []
        asking = Asking(self.source, left.values(), self.concurrency)
        try:
            for proxy, answer in asking.answers(deadline):
                del left[proxy.place]
                done += 1
                if not self._judge(proxy, answer, now):
                    unseen.append(proxy)
                    failed += 1
                self.progress(_progress(done, failed, total, monotonic() - begin))
        finally:
            self.progress("")
            for proxy in left.values():
                if not self.tally.knows(proxy.ref):  # what was seen of it before still holds
                    self._miss(proxy, "not reached before the end")
        return (*unseen, *left.values())

    def again(
        self,
        proxies: tuple[Proxy, ...],
        listed: Callable[[], tuple[Proxy, ...]],
        now: datetime,
        deadline: float | None,
    ) -> tuple[Proxy, ...]:
        """Where some stayed unseen: pods that were replaced are gone by now, and what came in their place is asked."""
        rows = self.tally.rows
        failed = [proxy for proxy in proxies if (row := rows.get(proxy.place)) and row.level is Level.UNKNOWN]
        askable = [proxy for proxy in failed if not (_unaskable(proxy) or self._unsought(proxy))]
        if not askable or (deadline is not None and monotonic() >= deadline):
            return proxies
        return self.follow(proxies, listed(), (), now, deadline)

    def follow(
        self,
        proxies: tuple[Proxy, ...],
        listed: tuple[Proxy, ...],
        anew: Iterable[Proxy],
        now: datetime,
        deadline: float | None,
    ) -> tuple[Proxy, ...]:
        """Drop the pods that are gone, ask those that came, and those that are to be asked anew."""
        known, there = {proxy.place for proxy in proxies}, {proxy.place for proxy in listed}
        again = {proxy.place for proxy in anew}
        for proxy in proxies:
            if proxy.place not in there:
                self.forget(proxy.ref)
        self.look([proxy for proxy in listed if proxy.place not in known or proxy.place in again], now, deadline)
        return listed

    def left(self, proxies: Iterable[Proxy]) -> tuple[Proxy, ...]:
        """Those that have not moved, or were not seen; not those that no time makes visible."""
        rows = (row for row in self.tally.rows.values() if row.half is Half.LIVE)
        behind = {row.place.at("") for row in rows if not (row.moved or row.lasts)}
        return tuple(proxy for proxy in proxies if proxy.ref in behind)

    def forget(self, pod: Ref) -> None:
        for place in self.tally.forget(pod):
            self.pairs.forget(place)

    def _judge(self, proxy: Proxy, answer: Answer, now: datetime) -> bool:
        self.forget(proxy.ref)
        if isinstance(answer, ToolError):
            # What is forbidden everywhere is one thing, wherever the pod is.
            why = answer.message.replace(f' in namespace "{proxy.ref.namespace}"', "")
            self._miss(proxy, why, hint=answer.hint, lasts=isinstance(answer, NotAllowed))
            return False
        elsewhere = self.namespace not in ("", proxy.ref.namespace)
        for memory in answer:
            if not elsewhere or f"/ns/{self.namespace}/" in memory.identity:
                self._judge_memory(proxy, memory, now)
        if not answer and not elsewhere:  # a ztunnel without a workload on its node
            self.tally.add(Row(Half.LIVE, proxy.kind.value, proxy.place, owner=proxy.owner, detail="holds no identity"))
        return True

    def _judge_memory(self, proxy: Proxy, memory: Memory, now: datetime) -> None:
        reference = self._reference(proxy, memory)
        holding = self._holding(proxy, memory)
        if memory.shown and holding.roots and holding.roots[0] not in reference.roots and len(reference.bundle) > 1:
            self._miss(proxy, _FIRST_ROOT)
            return
        case = Case.of(holding, reference, now)
        if memory.others:
            others = (Case.of(self._holding(proxy, other), reference, now) for other in memory.others)
            case = max((case, *others), key=lambda one: level_of(one, now))
        row = self.tally.take(case, now)
        self.pairs.see(
            case, reference.mesh.namespace, trusted=not (row.level is Level.CRITICAL and root_held.id in row.checks)
        )

    def _unsought(self, proxy: Proxy) -> str:
        """Say why it can be held against nothing: a control plane that was not seen need not be gone."""
        if not proxy.home or self.searched is None or proxy.home in {*self.searched, *self.references}:
            return ""
        return f"its control plane in {proxy.home} could not be looked for"

    def _reference(self, proxy: Proxy, memory: Memory) -> Reference:
        if proxy.home in self.references:
            return self.references[proxy.home]
        everyone = tuple(self.references.values())
        keys = {root.key_bytes for root in memory.roots}
        shared = (one for one in everyone if keys & {root.key_bytes for root in one.bundle})
        return next(shared, everyone[0])

    def _holding(self, proxy: Proxy, memory: Memory) -> Holding:
        roots, span, vouched, shows = memory.roots, span_of(memory.chain, proxy.grace), None, ""
        if memory.shown:
            root, leaf = memory.shown
            roots, shows = self._recognised(root)
            span = Span(leaf.not_before, leaf.not_after, proxy.grace) if leaf else None
            vouched = self.register.leaves.get(leaf.serial) if leaf else None
        unproven = memory.shown is not None and vouched is None and self.register.complete and not proxy.signer
        ztunnel = proxy.kind is ProxyKind.ZTUNNEL
        return Holding(
            place=proxy.place.at(memory.identity) if ztunnel else proxy.place,
            half=Half.LIVE,
            kind="ztunnel identity" if ztunnel else proxy.kind.value,
            peer=Peer.OCTETS if ztunnel else Peer.ENVOY,
            roots=roots,
            chain=memory.chain,
            span=span,
            identity=intern(memory.identity),
            broken=memory.broken,
            shows=shows,
            absent=memory.absent,
            signer=proxy.signer,
            owner=proxy.owner,
            mends=mends(proxy.owner, proxy.ref.name if proxy.owner.kind in REMADE else ""),
            mounted=memory.shown is not None,
            taken_by=self._taken_by(proxy),
            vouched=vouched,
            unproven="its leaf is a file and in no Secret that was read: whose it is, nobody knows" if unproven else "",
        )

    def _taken_by(self, proxy: Proxy) -> datetime | None:
        """When its files are those of its Secret: some time after Citadel has written, or writes, the root into it."""
        if not (proxy.mounted and (row := self.tally.rows.get(Ref("Secret", proxy.ref.namespace, proxy.mounted)))):
            return None
        written = row.not_before if row.moved else row.moves_by
        return written + _MOUNTED if written else None

    def _recognised(self, shown: Shown | None) -> tuple[tuple[Certificate, ...], str]:
        if shown is None:
            return (), "its Envoy shows no root"
        known = self.register.roots.get(shown.serial)
        if known and (known.not_before, known.not_after) == (shown.not_before, shown.not_after):
            return (known,), ""
        return (), f"its Envoy shows a root that is stored nowhere (serial {shown.serial:x})"

    def _miss(self, proxy: Proxy, why: str, *, hint: str = "", lasts: bool = False) -> None:
        row = Row(
            Half.LIVE,
            proxy.kind.value,
            proxy.place,
            level=Level.UNKNOWN,
            detail=why,
            owner=proxy.owner,
            moved=False,
            lasts=lasts,
        )
        self.tally.miss(row, Gap(proxy.place, Sight.MEMORY, why, hint))


def _unaskable(proxy: Proxy) -> str:
    """Say why a proxy cannot be asked at all, or nothing."""
    if proxy.idle:
        return f"it does not run: {proxy.idle}"
    return _UNASKABLE.get(proxy.kind, "" if proxy.has_ip else "its pod has no IP yet")


@lru_cache(maxsize=4096)  # one text for all proxies of one owner
def mends(owner: Ref, pod: str = "") -> str:
    """The command that gives a proxy a new leaf and the root; of ztunnel's workloads it is ztunnel's, never theirs.

    Whoever pastes it runs it: where there is none, it is a comment. `pod` is to be deleted where its owner remakes it.
    """
    return restart(owner, pod) or f"# {owner}: nothing restarts it, it has to be made anew"


def _progress(done: int, failed: int, total: int, seconds: float) -> str:
    rate = done / seconds if seconds else 0.0
    left = (total - done) / rate if rate else 0.0
    said = f", {failed} failed" if failed else ""
    return f"{done} of {total} proxies{said}, {rate:.0f} a second, {left:.0f}s left"

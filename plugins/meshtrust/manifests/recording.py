"""A recorded mesh: the `Source` that `-f` gives."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field
from itertools import islice
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from meshtrust.errors import Unreachable, UsageError
from meshtrust.manifests.answers import Page
from meshtrust.manifests.questions import spelled, spelled_page
from meshtrust.objects import KINDS, KubeObject, Ref
from meshtrust.selectors import parse_selector

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime, timedelta
    from typing import BinaryIO, Self

    from meshtrust.manifests.answers import Answers
    from meshtrust.manifests.questions import Refusals
    from meshtrust.objects import Unread
    from meshtrust.selectors import Selector


@dataclass(frozen=True, slots=True)
class Held:
    """An object of the recording, and its labels even where it could not be read; None: nobody knows them."""

    item: KubeObject | Unread
    labels: Mapping[str, Any] | None

    def is_typed(self, wanted: str) -> bool:
        return not wanted or (isinstance(self.item, KubeObject) and self.item.body.get("type") == wanted)

    def bears(self, labels: Mapping[str, str], selector: Selector) -> bool:
        return self.labels is None or (labels.items() <= self.labels.items() and selector.takes(self.labels))


@dataclass(frozen=True, slots=True)
class Recording:
    """What the files held. An object that was given twice counts as it was given last, as `kubectl apply` has it.

    So a file with Secrets can stand beside a bug-report, and a later dump of a namespace replaces an earlier one.
    """

    held: tuple[Held, ...] = field(default=(), repr=False)  # in the order of namespace and name
    unread: tuple[Unread, ...] = ()
    exposed: tuple[Ref, ...] = ()
    taken_at: datetime | None = None
    answers: Answers = field(default_factory=dict, repr=False)
    refusals: Refusals = field(default_factory=dict, repr=False)
    asked: frozenset[str] = frozenset()  # kinds that whoever recorded it asked for, whether there were any or not
    wished: str = ""

    @classmethod
    def read(cls, paths: Sequence[str], stdin: BinaryIO) -> Recording:
        """Read everything that is named. Raises `ToolError` where one of the names gives nothing at all."""
        if list(paths).count("-") > 1:
            raise UsageError("-f - is given twice: standard input can be read only once")
        from meshtrust.manifests.gathering import Gathering  # noqa: PLC0415 - a live cluster does not pay for it

        gathering = Gathering()
        for path in paths:
            gathering.add(path, stdin)
        held = sorted(gathering.held.values(), key=lambda held: held.item.ref)
        unread, exposed = dict.fromkeys(gathering.unread), dict.fromkeys(gathering.exposed)
        return cls(
            tuple(held),
            tuple(unread),
            tuple(exposed),
            gathering.taken_at,
            gathering.answers,
            gathering.refusals,
            frozenset(gathering.asked),
            gathering.wished,
        )

    @property
    def recorded(self) -> bool:
        return True

    @property
    def clock_skew(self) -> timedelta | None:
        return None

    def objects(
        self,
        kind: str,
        *,
        namespace: str = "",
        name: str = "",
        labels: Mapping[str, str] | None = None,
        selector: str = "",
    ) -> Iterator[KubeObject | Unread]:
        if kind not in KINDS:
            return
        view = KINDS[kind]
        wanted = parse_selector(selector)
        namespace = namespace if view.namespaced else ""
        base = view.of or kind
        first = bisect_left(self.held, Ref(base, namespace, name), key=attrgetter("item.ref"))
        for held in islice(self.held, first, None):
            ref = held.item.ref
            if ref.kind != base or (namespace and ref.namespace != namespace):
                break
            if name in ("", ref.name) and held.is_typed(view.typed) and held.bears(labels or {}, wanted):
                yield held.item
        if refusal := self.refusals.get(spelled(kind, namespace, name, labels, selector)):
            raise type(refusal)(refusal.message, refusal.hint)

    def until(self, moment: float) -> Self:  # noqa: ARG002 - all of it is there
        return self

    def holds(self, kind: str) -> bool:
        return kind in self.asked or next(self.objects(kind), None) is not None

    def proxy_admin(self, pod: Ref, path: str, *, port: int, container: str) -> bytes:  # noqa: ARG002 - of a live one
        """The whole answer that was kept, whatever part of it the query asks for."""
        page = Page(pod.namespace, pod.name, path.partition("?")[0])
        if refusal := self.refusals.get(spelled_page(pod, page.path)):
            raise type(refusal)(refusal.message, refusal.hint)
        if page not in self.answers:
            hint = "a bug-report of istioctl holds the answers of proxies"
            raise Unreachable(f"{page.path} of this proxy is not in the recording", hint)
        return self.answers[page]

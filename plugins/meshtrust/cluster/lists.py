"""Objects out of answers: page after page, each object once, cut down to what its kind declares."""

from __future__ import annotations

from copy import copy
from http import HTTPStatus
from sys import intern
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import msgspec

from meshtrust.cluster.failures import not_answered, not_kubernetes, status_of
from meshtrust.cluster.question import Question
from meshtrust.objects import KINDS, KubeObject, Ref, Unread

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from meshtrust.cluster.session import Answer, Session


Item = TypeVar("Item")


class _PageMetadata(msgspec.Struct):
    proceed: str | None = msgspec.field(name="continue", default=None)


class _Page(msgspec.Struct, Generic[Item]):
    items: list[Item] | None  # must be there: another program's JSON is not an empty list
    metadata: _PageMetadata = msgspec.field(default_factory=_PageMetadata)


class _Name(msgspec.Struct):
    name: str = ""
    namespace: str = ""


class _Named(msgspec.Struct):
    metadata: _Name = msgspec.field(default_factory=_Name)


class Lists:
    def __init__(self, session: Session) -> None:
        self._session = session
        self._until: float | None = None
        self.served: dict[str, str] = {}  # by kind: the version that the server knows

    def until(self, moment: float) -> Lists:
        """The same, that wait for no answer after a moment of `time.monotonic`."""
        bounded = copy(self)
        bounded._until = moment  # noqa: SLF001 - its own
        return bounded

    def versions(self, kind_name: str) -> tuple[str, ...]:
        """The versions to ask for, until one of them is known to be served."""
        return (served,) if (served := self.served.get(kind_name)) else KINDS[kind_name].versions

    def objects(self, kind_name: str, namespace: str, name: str, selector: str) -> Iterator[KubeObject | Unread]:
        kind = KINDS[kind_name]
        for version in self.versions(kind_name):
            question = Question(kind, version, namespace, name, selector)
            answer = self._session.ask(question, until=self._until)
            if answer.status == HTTPStatus.OK:
                self.served[kind_name] = version
                yield from self._one(question, answer) if question.of_one else self._all(question, answer)
                return
            if answer.status == HTTPStatus.GONE:
                raise not_answered(answer.status, answer.body, question, self._session.context)
            if self._lacks(question, answer):
                self.served[kind_name] = version
                return

    def _lacks(self, question: Question, answer: Answer) -> bool:
        """Tell an object that is not there from a version that is not served, and both from a wrong server."""
        status = status_of(answer.body)
        if not question.group and not status.kind:  # every API server knows the core, and says so in a Status
            raise not_kubernetes(answer.content_type, question, self._session.context)
        return question.of_one and (status.details or {}).get("name") == question.name

    def _one(self, question: Question, answer: Answer) -> Iterator[KubeObject | Unread]:
        yield _read(self._decoded(question, answer, msgspec.Raw), question, msgspec.json.Decoder(question.kind.shape))

    def _all(self, question: Question, answer: Answer) -> Iterator[KubeObject | Unread]:
        seen: set[Ref | str] = set()
        for items in self._pages(question, answer):
            for item in items:
                mark = item.ref if item.ref.name else repr(item)
                if mark not in seen:
                    seen.add(mark)
                    yield item

    def _pages(self, question: Question, answer: Answer) -> Iterator[Iterable[KubeObject | Unread]]:
        shape: Any = question.kind.shape
        whole: msgspec.json.Decoder[_Page[Any]] = msgspec.json.Decoder(_Page[shape])
        one: msgspec.json.Decoder[Any] = msgspec.json.Decoder(shape)
        while True:
            try:
                page = whole.decode(answer.body)
            except msgspec.DecodeError:  # the other items may be as they should be
                page = self._decoded(question, answer, _Page[msgspec.Raw])
                items = (_read(raw, question, one) for raw in page.items or ())
            else:
                items = (object_of(body, question) for body in page.items or ())
            if not page.metadata.proceed:
                yield items
                return
            following = question.page(page.metadata.proceed)
            begun = self._session.begin(following, self._until)
            del answer  # it is megabytes
            yield items
            answer = self._session.ask(following, begun, self._until)
            if answer.status == HTTPStatus.GONE:
                # The list that we were reading is forgotten. The next one is asked for in one piece, as client-go
                # does: it cannot be forgotten half-way.
                question = question.at_once()
                answer = self._session.ask(question, until=self._until)
            if answer.status != HTTPStatus.OK:
                raise not_answered(answer.status, answer.body, question, self._session.context)

    def _decoded(self, question: Question, answer: Answer, shape: type[Any]) -> Any:
        try:
            return msgspec.json.decode(answer.body, type=shape)
        except msgspec.DecodeError as error:
            raise not_kubernetes(answer.content_type, question, self._session.context) from error


def _read(raw: msgspec.Raw, question: Question, decoder: msgspec.json.Decoder[Any]) -> KubeObject | Unread:
    try:
        body = decoder.decode(raw)
    except msgspec.DecodeError as error:
        return Unread(_ref_of(raw, question), str(error))
    return object_of(body, question)


def object_of(body: Mapping[str, Any], question: Question) -> KubeObject:
    metadata, kind = body["metadata"], question.kind
    namespace = intern(metadata.get("namespace", ""))  # thousands of objects, few namespaces
    return KubeObject(Ref(kind.of or kind.name, namespace, metadata["name"]), body)


def _ref_of(raw: msgspec.Raw, question: Question) -> Ref:
    """As good a place as can be had of an object that has another shape."""
    try:
        name = msgspec.json.decode(raw, type=_Named).metadata
    except msgspec.DecodeError:
        name = _Name()
    namespace = name.namespace or (question.namespace if question.kind.namespaced else "")
    return Ref(question.kind.of or question.kind.name, namespace, name.name or question.name)

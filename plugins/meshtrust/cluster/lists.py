"""Objects out of answers: page after page, each object once, cut down to what its kind declares."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import msgspec

from meshtrust.cluster.failures import not_answered, not_kubernetes, status_of
from meshtrust.cluster.question import Question
from meshtrust.objects import KINDS, KubeObject, Ref, Unread

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from meshtrust.cluster.session import Answer, Session


class _PageMetadata(msgspec.Struct):
    proceed: str | None = msgspec.field(name="continue", default=None)


class _Page(msgspec.Struct):
    items: list[msgspec.Raw] | None  # must be there: another program's JSON is not an empty list
    metadata: _PageMetadata = msgspec.field(default_factory=_PageMetadata)


class _Name(msgspec.Struct):
    name: str = ""
    namespace: str = ""


class _Named(msgspec.Struct):
    metadata: _Name = msgspec.field(default_factory=_Name)


class Lists:
    def __init__(self, session: Session) -> None:
        self._session = session
        self._served: dict[str, str] = {}  # by kind: the version that the server knows

    def objects(
        self, kind_name: str, namespace: str, name: str, labels: Mapping[str, str]
    ) -> Iterator[KubeObject | Unread]:
        kind = KINDS[kind_name]
        selector = ",".join(f"{key}={value}" for key, value in labels.items())
        for version in (served,) if (served := self._served.get(kind_name)) else kind.versions:
            question = Question(kind, version, namespace, name, selector)
            answer = self._session.ask(question)
            if answer.status == HTTPStatus.OK:
                self._served[kind_name] = version
                yield from self._one(question, answer) if question.of_one else self._all(question, answer)
                return
            if answer.status == HTTPStatus.GONE:
                raise not_answered(answer.status, answer.body, question, self._session.context)
            if self._lacks(question, answer):
                self._served[kind_name] = version
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
        decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(question.kind.shape)
        seen: set[Ref | bytes] = set()
        for page in self._pages(question, answer):
            for raw in page.items or ():
                item = _read(raw, question, decoder)
                mark = item.ref if item.ref.name else bytes(raw)
                if mark not in seen:
                    seen.add(mark)
                    yield item

    def _pages(self, question: Question, answer: Answer) -> Iterator[_Page]:
        while True:
            page = self._decoded(question, answer, _Page)
            yield page
            if not page.metadata.proceed:
                return
            answer = self._session.ask(question.page(page.metadata.proceed))
            if answer.status == HTTPStatus.GONE:
                # The list that we were reading is forgotten. The next one is asked for in one piece, as client-go
                # does: it cannot be forgotten half-way.
                question = question.at_once()
                answer = self._session.ask(question)
            if answer.status != HTTPStatus.OK:
                raise not_answered(answer.status, answer.body, question, self._session.context)

    def _decoded(self, question: Question, answer: Answer, shape: type[Any]) -> Any:
        try:
            return msgspec.json.decode(answer.body, type=shape)
        except msgspec.DecodeError as error:
            raise not_kubernetes(answer.content_type, question, self._session.context) from error


def _read(raw: msgspec.Raw, question: Question, decoder: msgspec.json.Decoder[Any]) -> KubeObject | Unread:
    kind = question.kind.name
    try:
        body = decoder.decode(raw)
    except msgspec.DecodeError as error:
        return Unread(_ref_of(raw, question), str(error))
    metadata = body["metadata"]
    return KubeObject(Ref(kind, metadata.get("namespace", ""), metadata["name"]), body)


def _ref_of(raw: msgspec.Raw, question: Question) -> Ref:
    """As good a place as can be had of an object that has another shape."""
    try:
        name = msgspec.json.decode(raw, type=_Named).metadata
    except msgspec.DecodeError:
        name = _Name()
    namespace = name.namespace or (question.namespace if question.kind.namespaced else "")
    return Ref(question.kind.name, namespace, name.name or question.name)

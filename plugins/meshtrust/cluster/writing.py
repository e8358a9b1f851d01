"""Changes of objects: each is sent once, and its answer says whether it was written, or that nobody knows."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import msgspec

from meshtrust.cluster.failures import forbidden, is_unsent, not_done, not_kubernetes, not_reached, phrase, status_of
from meshtrust.cluster.lists import object_of
from meshtrust.cluster.official import urllib3
from meshtrust.cluster.pool import close_idle
from meshtrust.cluster.question import Question
from meshtrust.cluster.session import Request
from meshtrust.errors import Conflict, Refused, ToolError, Unreachable
from meshtrust.objects import KINDS
from meshtrust.source import FIELD_MANAGER

if TYPE_CHECKING:
    from collections.abc import Mapping

    from meshtrust.cluster.context import Context
    from meshtrust.cluster.failures import Status
    from meshtrust.cluster.lists import Lists
    from meshtrust.cluster.login import Login
    from meshtrust.cluster.session import Answer, Session
    from meshtrust.objects import KubeObject, Ref

_MERGE = {"content-type": "application/merge-patch+json"}

# Admission comes before the storage, so its words are sure, whatever status a webhook or a policy has chosen.
_DENIED = ("denied the request", "denied request")  # of a webhook, of a ValidatingAdmissionPolicy
_WEBHOOK_FAILED = "failed calling webhook"

_NOTHING = "nothing was written"


@dataclass(frozen=True, slots=True)
class Change(Question):
    """A patch of one object. The server gives it up when we do, so that it is not written after we have looked."""

    timeout: float | None = None  # seconds

    @property
    def verb(self) -> str:
        return "patch"

    @property
    def can_i(self) -> str:
        """With the name: a right to write is often one to write this very object."""
        scope = f"-n {self.namespace}" if self.kind.namespaced else "-A"
        return f"{self.verb} {self.resource}/{self.name} {scope}"

    @property
    def _query(self) -> str:
        limit = {"timeout": f"{max(1, round(self.timeout * 1000))}ms"} if self.timeout else {}
        return "?" + urlencode({"fieldManager": FIELD_MANAGER, **limit})


def patch(session: Session, lists: Lists, ref: Ref, change: Mapping[str, Any]) -> KubeObject:
    """Merge a change into an object. Versions that are not served are passed over, as in lists."""
    kind, body = KINDS[ref.kind], msgspec.json.encode(change)
    for version in lists.versions(ref.kind):
        asked = Change(kind, version, ref.namespace, ref.name, timeout=session.timeout)
        answer = _sent(session, asked, body)
        if answer.status == HTTPStatus.OK:
            lists.served[ref.kind] = version
            return _written(answer, asked, session.context)
        told = status_of(answer.body)
        if answer.status != HTTPStatus.NOT_FOUND or not (told.kind or asked.group):
            raise _not_written(answer, told, asked, session.context)
        if told.of(kind.plural, ref.name):
            break
    raise Refused(f"cannot {asked}: it is gone", f"{_NOTHING}: it was deleted meanwhile, or never was there")


def _sent(session: Session, asked: Change, body: bytes) -> Answer:
    request = Request(asked.path, "PATCH", _MERGE, body)

    def attempt(login: Login) -> Answer:
        close_idle(login.pool)
        try:
            return session.answer(login, request)
        except urllib3.exceptions.HTTPError as error:
            if is_unsent(error):
                raise
            why = str(not_reached(error, login, session.timeout)).removeprefix("Unable to connect to the server: ")
            raise _in_doubt(f"{asked}: {why}") from error

    return session.insist(attempt, once=True)


def _written(answer: Answer, asked: Change, context: Context) -> KubeObject:
    """Read the object as it is from now on."""
    try:
        found = object_of(msgspec.json.decode(answer.body, type=asked.kind.shape), asked)
    except msgspec.DecodeError as error:
        raise _in_doubt(str(not_kubernetes(answer.content_type, asked, context))) from error
    if found.ref.name != asked.name:
        raise _in_doubt(str(not_kubernetes(answer.content_type, asked, context)))
    return found


def _not_written(answer: Answer, told: Status, asked: Change, context: Context) -> ToolError:
    status, said = answer.status, told.line or phrase(answer.status)
    if _WEBHOOK_FAILED in told.line:
        return Refused(f"cannot {asked}: {said}", f"{_NOTHING}: repair the webhook, or take it away, and try again")
    if any(words in told.line for words in _DENIED):
        return Refused(f"cannot {asked}: {said}", f"{_NOTHING}: ask those whose rule it is")
    if status == HTTPStatus.TOO_MANY_REQUESTS:  # the server itself says so in plain text
        return Refused(f"cannot {asked}: {context.address} answered {phrase(status)}", f"{_NOTHING}: try again later")
    if status == HTTPStatus.UNAUTHORIZED:
        return not_done(status, told, str(asked), context)
    if not told.kind or not _is_refusal(status):
        return _in_doubt(str(not_done(status, told, str(asked), context)))
    if status == HTTPStatus.CONFLICT:
        return Conflict(f"cannot {asked}: {said}", f"{_NOTHING}: look at what it is now, and begin anew")
    if status == HTTPStatus.FORBIDDEN and told.is_of_rights:
        return forbidden(told, asked.verb, str(asked), asked.can_i, context)
    return Refused(f"cannot {asked}: {said}", f"{_NOTHING}: the cluster does not allow it as things are")


def _is_refusal(status: int) -> bool:
    return HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR


def _in_doubt(why: str) -> Unreachable:
    return Unreachable(
        f"{why}; whether it was written is not known yet", "look at the object before you do anything else"
    )

"""What we may do, as the API server itself judges it."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import msgspec

from meshtrust.cluster.failures import not_answered, not_kubernetes
from meshtrust.cluster.question import Question
from meshtrust.cluster.session import Request
from meshtrust.objects import KINDS, Kind

if TYPE_CHECKING:
    from meshtrust.cluster.session import Session
    from meshtrust.source import Right

_VERSION = "authorization.k8s.io/v1"


@dataclass(frozen=True, slots=True)
class Review(Question):
    """A question about ourselves, which is asked by creating it."""

    @property
    def verb(self) -> str:
        return "create"

    @property
    def _query(self) -> str:
        return ""


_REVIEW = Review(
    Kind("SelfSubjectAccessReview", "selfsubjectaccessreviews", dict, versions=(_VERSION,), namespaced=False), _VERSION
)


class _Verdict(msgspec.Struct):
    """An `evaluationError` beside it changes nothing: what could not be judged is not `allowed`."""

    allowed: bool
    denied: bool = False


class _Reviewed(msgspec.Struct):
    status: _Verdict


def may(session: Session, right: Right) -> bool:
    """Asking twice does no harm, so it is asked as patiently as anything that is read."""
    request = Request(_REVIEW.path, "POST", {"content-type": "application/json"}, _asked(right))
    answer = session.insist(lambda login: session.answer(login, request))
    if answer.status not in {HTTPStatus.CREATED, HTTPStatus.OK}:
        raise not_answered(answer.status, answer.body, _REVIEW, session.context)
    try:
        verdict = msgspec.json.decode(answer.body, type=_Reviewed).status
    except msgspec.DecodeError as error:
        raise not_kubernetes(answer.content_type, _REVIEW, session.context) from error
    return verdict.allowed and not verdict.denied


def _asked(right: Right) -> bytes:
    kind = KINDS[right.kind]
    attributes: dict[str, Any] = {
        "verb": right.verb,
        "group": kind.versions[0].rpartition("/")[0],
        "resource": kind.plural,
        "subresource": right.subresource,
        "namespace": right.namespace if kind.namespaced else "",
        "name": right.name,
    }
    wanted = {key: value for key, value in attributes.items() if value}
    review = {"apiVersion": _VERSION, "kind": _REVIEW.kind.name, "spec": {"resourceAttributes": wanted}}
    return msgspec.json.encode(review)

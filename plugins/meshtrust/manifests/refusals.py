"""Questions that stayed without an answer, as a recording keeps them: what was forbidden then is not missing now.

apiVersion: meshtrust/v1
kind: Unanswered
metadata: {name: questions}
questions:
  - {asked: "Secret -n istio-system istio-ca-secret", denied: true, message: "cannot get secrets …", hint: ""}
  - {asked: "Pod -n bank ledger-7d9c-x2x4z certs", denied: false, message: "no whole answer from the proxy"}
unread:
  - {kind: ConfigMap, namespace: bank, name: istio-ca-root-cert, why: "Expected `str`, got `int`"}
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from meshtrust.errors import NotAllowed, Unreachable
from meshtrust.objects import Ref, Unread

if TYPE_CHECKING:
    from collections.abc import Mapping

    from meshtrust.errors import Unseen
    from meshtrust.manifests.kinds import Part

KIND = "Unanswered"
API_VERSION = "meshtrust/v1"
# Annotations of the List that is a recording.
TAKEN_AT, ASKED, WISHED = "meshtrust/taken-at", "meshtrust/asked", "meshtrust/wished"


class Question(msgspec.Struct):
    asked: str
    message: str
    hint: str = ""
    denied: bool = False

    @property
    def refusal(self) -> Unseen:
        return (NotAllowed if self.denied else Unreachable)(self.message, self.hint)


class UnreadObject(msgspec.Struct):
    kind: str
    namespace: str
    name: str
    why: str


class Unanswered(msgspec.Struct):
    questions: list[Question] = []
    unread: list[UnreadObject] = []


class _Annotated(msgspec.Struct):
    annotations: dict[str, str] | None = None


class _List(msgspec.Struct):
    metadata: _Annotated = msgspec.field(default_factory=_Annotated)


def unanswered_in(part: Part) -> Unanswered | None:
    """What stayed open, if the part is such an item; one that is not as it should be says nothing."""
    if (part.kind, part.api_version) != (KIND, API_VERSION):
        return None
    try:
        return msgspec.convert(part.body, Unanswered)
    except msgspec.ValidationError:
        return None


def annotations_of(part: Part) -> Mapping[str, str]:
    """Of a List: when a recording was taken, which kinds were asked for, and what its run was narrowed to."""
    try:
        return msgspec.convert(part.body, _List).metadata.annotations or {}
    except msgspec.ValidationError:
        return {}


def unread_of(found: Unanswered) -> tuple[Unread, ...]:
    return tuple(Unread(Ref(one.kind, one.namespace, one.name), one.why) for one in found.unread)

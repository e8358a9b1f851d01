"""The objects in a document, and those of them that a mesh is read from."""

from __future__ import annotations

import binascii
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from meshtrust.manifests import answers
from meshtrust.objects import KINDS, KubeObject, Ref, Unread

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from meshtrust.objects import Kind

SECRET = "Secret"  # noqa: S105 - the name of a kind

_NAMESPACE = "default"  # of an object that names none, as kubectl has it
_FORMER_GROUPS = {"Deployment": {"extensions"}}
_MENTIONED = re.compile(rb"kind\W{1,8}(?:" + "|".join((*KINDS, answers.KIND)).encode() + rb")(?:List)?\b")


class _Metadata(msgspec.Struct):
    name: str
    namespace: str = _NAMESPACE


class _ProxyAnswers(msgspec.Struct):
    metadata: _Metadata
    answers: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Part:
    """What looks like an object of Kubernetes; a List too, beside what is in it. Without a kind it is anything."""

    kind: str
    api_version: str
    body: Mapping[str, Any] = field(repr=False)


def parts(document: Any) -> Iterator[Part]:
    """Everything in a document, Lists in Lists opened, in the order that it stands there."""
    waiting: list[tuple[Any, str, str]] = [(document, "", "")]
    while waiting:
        value, kind, api_version = waiting.pop()
        if isinstance(value, list):
            waiting += [(item, kind, api_version) for item in reversed(value)]
        elif isinstance(value, dict):
            kind = _string(value.get("kind")) or kind
            api_version = _string(value.get("apiVersion")) or api_version
            if kind not in KINDS and isinstance(items := value.get("items"), list):
                yield Part(kind or "List", api_version, {key: rest for key, rest in value.items() if key != "items"})
                # The items of a SecretList do not say what they are.
                waiting.append((items, kind.removesuffix("List"), api_version))
            else:
                yield Part(kind, api_version, value)


def may_hold_objects(text: bytes) -> bool:
    """Say whether it is worth reading a file that nobody named."""
    return _MENTIONED.search(text) is not None


def kind_of(part: Part) -> Kind | None:
    """The kind, in any version of its group, if a mesh is read from it."""
    kind = KINDS.get(part.kind)
    if kind is None or kind.of:
        return None
    groups = {_group(version) for version in kind.versions} | _FORMER_GROUPS.get(kind.name, set())
    return kind if _group(part.api_version) in groups else None


def ref_of(kind: Kind, body: Mapping[str, Any]) -> Ref | None:
    """Where the object stands; None where its name or namespace cannot be told."""
    metadata = body.get("metadata")
    known = metadata if isinstance(metadata, dict) else {}
    name = known.get("name")
    namespace = (known.get("namespace") or _NAMESPACE) if kind.namespaced else ""
    return Ref(kind.name, namespace, name) if name and isinstance(name, str) and isinstance(namespace, str) else None


def cut(kind: Kind, ref: Ref, body: Mapping[str, Any]) -> KubeObject | Unread:
    """The object as a server would give it, with no more fields than its shape has."""
    try:
        shaped: Mapping[str, Any] = msgspec.convert(_as_served(kind, body), type=_shape(kind, body))
    except msgspec.ValidationError as error:
        return Unread(ref, f"not as Kubernetes writes it: {error}")
    return KubeObject(ref, shaped)


def _shape(kind: Kind, body: Mapping[str, Any]) -> type:
    """That of the view where there is one: what it does not read (a workload's key) is not kept."""
    views = (view.shape for view in KINDS.values() if view.of == kind.name and view.typed == body.get("type") != "")
    return next(views, kind.shape)


def labels_of(body: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The labels even of an object that is otherwise broken; None where they cannot be told."""
    metadata = body.get("metadata")
    labels = metadata.get("labels") or {} if isinstance(metadata, dict) else None
    return labels if isinstance(labels, dict) else None


def answers_in(part: Part) -> answers.Answers | Unread | None:
    """What proxies answered, if the part is an item of that kind."""
    if (part.kind, part.api_version) != (answers.KIND, answers.API_VERSION):
        return None
    try:
        item = msgspec.convert(part.body, _ProxyAnswers)
    except msgspec.ValidationError as error:
        return Unread(Ref(part.kind, "", ""), f"not as it should be: {error}")
    place = item.metadata
    return {answers.Page(place.namespace, place.name, path): _text(answer) for path, answer in item.answers.items()}


def _text(answer: Any) -> bytes:
    return answer.encode() if isinstance(answer, str) else msgspec.json.encode(answer)


def _as_served(kind: Kind, body: Mapping[str, Any]) -> Mapping[str, Any]:
    """What the API server adds or turns round: the namespace, `stringData`."""
    served = dict(body)
    if isinstance(metadata := body.get("metadata"), dict):
        rest = {key: value for key, value in metadata.items() if key != "namespace"}
        served["metadata"] = {**rest, "namespace": metadata.get("namespace") or _NAMESPACE} if kind.namespaced else rest
    if kind.name == SECRET and (written := body.get("stringData")):
        served["data"] = _merged(body.get("data") or {}, written)
    return served


def _merged(data: Any, written: Any) -> Any:
    """What is not as it should be stays as it is, for the shape to find."""
    if isinstance(data, dict) and isinstance(written, dict):
        return data | {key: _base64(text) for key, text in written.items()}
    return data if isinstance(written, dict) else written


def _base64(text: Any) -> Any:
    return binascii.b2a_base64(text.encode(), newline=False).decode() if isinstance(text, str) else text


def _group(api_version: str) -> str:
    return api_version.rpartition("/")[0]


def _string(value: Any) -> str:
    return value if isinstance(value, str) else ""

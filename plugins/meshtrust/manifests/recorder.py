"""Writing down what is read, for `-f`: a source that remembers every answer, without the private keys."""

from __future__ import annotations

import json
import os
from contextlib import contextmanager
from copy import copy
from pathlib import Path
from tempfile import mkstemp
from threading import Lock
from typing import TYPE_CHECKING, Any

from meshtrust.errors import NotAllowed, ToolError, Unseen, UsageError
from meshtrust.manifests import answers, questions, refusals
from meshtrust.manifests.cutting import holds_key, without_key, without_keys
from meshtrust.objects import KINDS, KubeObject, Ref, Unread

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime, timedelta
    from typing import Self

    from meshtrust.source import Source

_BULKY = ("workloads", "services", "policies", "stagedServices", "workloadState")  # of a ztunnel: the whole cluster

_WANTED = "--record names a file"


class Recorder:
    """A `Source` that passes on what another one answers, and keeps it."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._lock = Lock()
        self._objects: dict[Ref, Mapping[str, Any]] = {}
        self._unread: dict[Ref, Unread] = {}
        self._answers: dict[tuple[str, str], dict[str, Any]] = {}
        self._refusals: dict[str, Unseen] = {}
        self._asked: set[str] = set()

    @property
    def recorded(self) -> bool:
        return self._source.recorded

    @property
    def taken_at(self) -> datetime | None:
        return self._source.taken_at

    @property
    def wished(self) -> str:
        return self._source.wished

    @property
    def clock_skew(self) -> timedelta | None:
        return self._source.clock_skew

    @property
    def unread(self) -> tuple[Unread, ...]:
        return self._source.unread

    @property
    def exposed(self) -> tuple[Ref, ...]:
        return self._source.exposed

    def objects(
        self,
        kind: str,
        *,
        namespace: str = "",
        name: str = "",
        labels: Mapping[str, str] | None = None,
        selector: str = "",
    ) -> Iterator[KubeObject | Unread]:
        self._asked.add(kind)
        asked = questions.spelled(kind, namespace, name, labels, selector)
        try:
            for found in self._source.objects(kind, namespace=namespace, name=name, labels=labels, selector=selector):
                if isinstance(found, KubeObject):
                    self._objects[found.ref] = found.body
                    self._unread.pop(found.ref, None)
                else:
                    self._unread[found.ref] = found
                yield found
        except Unseen as refused:
            self._refusals[asked] = refused
            raise
        self._refusals.pop(asked, None)  # a later try may overcome an earlier refusal

    def until(self, moment: float) -> Self:
        """What is asked of it is kept here, too."""
        bounded = copy(self)
        bounded._source = self._source.until(moment)  # noqa: SLF001 - its own
        return bounded

    def holds(self, kind: str) -> bool:
        return self._source.holds(kind)

    def proxy_admin(self, pod: Ref, path: str, *, port: int, container: str) -> bytes:
        page = path.partition("?")[0]
        asked = questions.spelled_page(pod, page)
        try:
            answer = self._source.proxy_admin(pod, path, port=port, container=container)
        except Unseen as refused:
            with self._lock:
                self._refusals[asked] = refused
                self._answers.get((pod.namespace, pod.name), {}).pop(page, None)
            raise
        with self._lock:
            self._refusals.pop(asked, None)
            self._answers.setdefault((pod.namespace, pod.name), {})[page] = _kept(answer)
        return answer

    def write(self, path: str, now: datetime, wished: str = "") -> None:
        """Write all of it as one List, for its owner's eyes. Raises ToolError where the file cannot be written.

        `wished` is what the run was narrowed to.
        """
        try:
            with _beside(Path(path)) as part:
                # What is half of a character in JSON (RFC 8259 8.2) is written as JSON escapes it.
                with part.open("w", encoding="utf-8", errors="backslashreplace") as out:
                    for piece in self._pieces(now, wished):
                        if holds_key(piece):
                            raise ToolError(f"{path}: not written: a private key could not be cut out of what was read")
                        out.write(piece)
                part.replace(path)
        except OSError as error:
            raise ToolError(f"{path}: cannot be written: {error.strerror}", _WANTED) from error

    def _pieces(self, now: datetime, wished: str) -> Iterator[str]:
        annotations = {refusals.TAKEN_AT: now.isoformat(), refusals.ASKED: ",".join(sorted(self._asked))}
        annotations |= {refusals.WISHED: wished} if wished else {}
        head = {"apiVersion": "v1", "kind": "List", "metadata": {"annotations": annotations}}
        yield json.dumps(head)[:-1] + ', "items": [\n'
        between = ""
        for item in self._items():
            yield between + json.dumps(item, ensure_ascii=False)
            between = ",\n"
        yield "\n]}\n"

    def _items(self) -> Iterator[Mapping[str, Any]]:
        for ref in sorted(self._objects):
            yield {"apiVersion": KINDS[ref.kind].versions[0], "kind": ref.kind} | without_keys(
                ref.kind, self._objects[ref]
            )
        for (namespace, name), pages in sorted(self._answers.items()):
            metadata = {"name": name, "namespace": namespace}
            yield {"apiVersion": answers.API_VERSION, "kind": answers.KIND, "metadata": metadata, "answers": pages}
        if self._refusals or self._unread:
            yield without_key(self._unanswered())

    def _unanswered(self) -> Mapping[str, Any]:
        return {
            "apiVersion": refusals.API_VERSION,
            "kind": refusals.KIND,
            "metadata": {"name": "questions"},
            "questions": [
                {"asked": asked, "message": why.message, "hint": why.hint, "denied": isinstance(why, NotAllowed)}
                for asked, why in self._refusals.items()
            ],
            "unread": [
                {"kind": ref.kind, "namespace": ref.namespace, "name": ref.name, "why": one.why}
                for ref, one in self._unread.items()
            ],
        }


def expect_writable(path: str) -> None:
    """Raise `UsageError` where nothing can be written, before anything is read for it."""
    file = Path(path)
    if path == "-":
        raise UsageError("--record - is no file: stdout is for the report", _WANTED)
    if file.exists() and not file.is_file():
        raise UsageError(f"{path}: cannot be written: it is no file", _WANTED)
    try:
        with _beside(file):
            pass
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error.strerror}", _WANTED) from error


@contextmanager
def _beside(file: Path) -> Iterator[Path]:
    """A new file in the same folder, which only its owner can read; gone in the end unless it was moved."""
    opened, name = mkstemp(prefix=f"{file.name}.", suffix=".part", dir=file.parent)
    os.close(opened)
    part = Path(name)
    try:
        yield part
    finally:
        part.unlink(missing_ok=True)


def _kept(answer: bytes) -> Any:
    """The JSON of an answer, or its text where it is none; of a ztunnel without the rest of the cluster."""
    text = answer.decode(errors="replace")
    try:
        value = json.loads(text)
        if isinstance(value, dict):
            value = {key: held for key, held in value.items() if key not in _BULKY}
        return without_key(value)
    except (ValueError, RecursionError):
        return without_key(text)

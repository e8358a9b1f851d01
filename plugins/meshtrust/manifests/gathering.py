"""What the files of a recording hold, gathered one after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, BinaryIO

from meshtrust.errors import ToolError
from meshtrust.manifests import files, reports
from meshtrust.manifests.documents import EXPECTED, Unreadable, documents, plain
from meshtrust.manifests.keys import carries_key, exposes_key
from meshtrust.manifests.kinds import cut, kind_of, labels_of, may_hold_objects, parts, ref_of
from meshtrust.manifests.recording import Held
from meshtrust.objects import Ref, Unread

if TYPE_CHECKING:
    from datetime import datetime

    from meshtrust.manifests.files import File


class Gathering:
    """Everything read so far; of an object that comes again, what comes last."""

    def __init__(self) -> None:
        self.held: dict[Ref, Held] = {}
        self.unread: list[Unread] = []
        self.exposed: list[Ref] = []
        self.taken_at: datetime | None = None
        self._found = 0  # objects, Lists and files that are there, whether they could be read or not

    def add(self, path: str, stdin: BinaryIO) -> None:
        """Read one of the names that the user gave; a name that gives nothing is an error."""
        place = files.place_of(path)
        name = "standard input" if path == files.STDIN else place.name
        before = self._found
        dates = _Dates()
        try:
            for file in files.read(path, stdin):
                if isinstance(file, Unread):
                    self._miss(file)
                else:
                    self._read(file, dates)
        except Unreadable as error:
            if self._found == before:
                raise ToolError(f"{name}: {error.message}", error.hint) from error
            self._miss(Unread(place, error.message))
        if self._found == before:
            raise ToolError(f"{name}: holds no object of Kubernetes that tells of a mesh", EXPECTED)
        self.taken_at = max(filter(None, (self.taken_at, dates.taken_at())), default=None)

    def _miss(self, unread: Unread) -> None:
        self._found += 1
        self.unread.append(unread)

    def _read(self, file: File, dates: _Dates) -> None:
        if not file.manifest:
            exposed = carries_key(file.content)
        else:
            try:
                exposed = self._manifest(file, dates)
            except Unreadable as error:
                if file.named:
                    raise
                self._miss(Unread(file.ref, error.message))
                return
        if exposed:
            self.exposed.append(file.ref)

    def _manifest(self, file: File, dates: _Dates) -> bool:
        """Take the objects of a manifest, and say whether it exposes a key."""
        text = plain(file.content)
        if file.resources:
            dates.see(file, text)
        suspected = carries_key(text)
        if not file.named and not may_hold_objects(text):
            return suspected
        values = documents(text)
        for value in values:
            self._objects(file.ref, value)
        return suspected and exposes_key(values)

    def _objects(self, place: Ref, document: Any) -> None:
        for part in parts(document):
            self._found += bool(part.kind)
            if not (kind := kind_of(part)):
                continue
            if ref := ref_of(kind, part.body):
                self.held[ref] = Held(cut(kind, ref, part.body), labels_of(part.body))
            else:
                self.unread.append(Unread(place, f"holds a {kind.name} without a name, or in no namespace"))


class _Dates:
    """When a bug-report was taken: its heartbeats say it, else the times of its files in an archive."""

    def __init__(self) -> None:
        self._heartbeats: list[datetime] = []
        self._modified: list[datetime] = []

    def see(self, file: File, text: bytes) -> None:
        if heartbeat := reports.last_heartbeat(text):
            self._heartbeats.append(heartbeat)
        if file.modified:
            self._modified.append(file.modified)

    def taken_at(self) -> datetime | None:
        return max(self._heartbeats or self._modified, default=None)

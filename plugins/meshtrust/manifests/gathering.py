"""What the files of a recording hold, gathered one after the other."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, BinaryIO

from meshtrust.errors import ToolError, Unseen
from meshtrust.keys import carries_key
from meshtrust.manifests import files, reports
from meshtrust.manifests.documents import EXPECTED, Unreadable, documents, plain
from meshtrust.manifests.keys import exposes_key
from meshtrust.manifests.kinds import answers_in, cut, kind_of, labels_of, may_hold_objects, parts, ref_of
from meshtrust.manifests.recording import Held
from meshtrust.manifests.refusals import ASKED, TAKEN_AT, WISHED, annotations_of, unanswered_in, unread_of
from meshtrust.objects import Ref, Unread

if TYPE_CHECKING:
    from meshtrust.manifests.answers import Page
    from meshtrust.manifests.files import File
    from meshtrust.manifests.kinds import Part


class Gathering:
    """Everything read so far; of an object that comes again, what comes last."""

    def __init__(self) -> None:
        self.held: dict[Ref, Held] = {}
        self.unread: list[Unread] = []
        self.exposed: list[Ref] = []
        self.answers: dict[Page, bytes] = {}
        self.refusals: dict[str, Unseen] = {}
        self.asked: set[str] = set()
        self.taken_at: datetime | None = None
        self._wishes: list[str] = []  # one for each recording
        self._files = 0
        self._found = 0  # objects, Lists and files that are there, whether they could be read or not

    @property
    def wished(self) -> str:
        """Only of a recording that stands alone: what lies beside it is there to be judged, too."""
        return self._wishes[0] if (len(self._wishes), self._files) == (1, 1) else ""

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
        self._files += 1
        if file.page:
            self.answers[file.page] = file.content
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
            self._answers(place, part)
            self._recorded(part)
            if not (kind := kind_of(part)):
                continue
            if ref := ref_of(kind, part.body):
                self.held[ref] = Held(cut(kind, ref, part.body), labels_of(part.body))
            else:
                self.unread.append(Unread(place, f"holds a {kind.name} without a name, or in no namespace"))

    def _recorded(self, part: Part) -> None:
        """What a recorder wrote beside the objects: when, what it asked for, and what stayed without an answer."""
        if part.kind == "List" and (noted := annotations_of(part)):
            self.asked.update(filter(None, noted.get(ASKED, "").split(",")))
            self._wishes.append(noted.get(WISHED, ""))
            if moment := _moment(noted.get(TAKEN_AT, "")):
                self.taken_at = max(filter(None, (self.taken_at, moment)))
        elif found := unanswered_in(part):
            self.refusals |= {question.asked: question.refusal for question in found.questions}
            for unread in unread_of(found):
                self.held[unread.ref] = Held(unread, None)

    def _answers(self, place: Ref, part: Part) -> None:
        found = answers_in(part)
        if isinstance(found, Unread):
            self.unread.append(Unread(place, f"holds {part.kind} {found.why}"))
        elif found:
            self.answers.update(found)


def _moment(text: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else None


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

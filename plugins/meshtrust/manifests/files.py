"""What `-f` names: files, folders, archives, standard input. Each file once, in memory, one at a time."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, BinaryIO

from meshtrust.errors import UsageError
from meshtrust.manifests import reports
from meshtrust.manifests.archives import LARGEST, gunzip, is_tar, members, refuse_other_packers, too_large
from meshtrust.manifests.documents import Unreadable
from meshtrust.objects import Ref, Unread

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from meshtrust.manifests.answers import Page

STDIN = "-"

_MANIFESTS = (".yaml", ".yml", ".json")  # what kubectl reads in a folder
_PACKED = (".tar", ".tgz", ".tar.gz", *(f"{suffix}.gz" for suffix in _MANIFESTS))


@dataclass(frozen=True, slots=True)
class File:
    """One file. A named one must be right; one that was found in a folder or an archive may be something else.

    `resources` marks the files of a bug-report that tell when it was taken, `page` those with the answer of a proxy;
    `modified` is known in an archive only, because copying a folder changes it.
    """

    ref: Ref
    content: bytes = field(repr=False)
    named: bool = False
    manifest: bool = True
    resources: bool = False
    page: Page | None = None
    modified: datetime | None = None


def place_of(path: str | PurePath) -> Ref:
    """A name that is not UTF-8 is still a name, and can be printed."""
    return Ref("File", "", str(path).encode("utf-8", "backslashreplace").decode())


def read(path: str, stdin: BinaryIO) -> Iterator[File | Unread]:
    """Every file that may hold a manifest or a key. Raises `Unreadable` for what the user named himself."""
    if path == STDIN:
        yield from _opened(place_of(path), _standard_input(stdin), named=True)
    elif _is_folder(path):
        yield from _folder(path)
    else:
        yield from _opened(place_of(path), _content(path), named=True)


def _standard_input(stdin: BinaryIO) -> bytes:
    if stdin.isatty():
        raise UsageError("standard input is a terminal", "pipe the output of kubectl get -o yaml into it")
    return _bounded(stdin)


def _content(path: str) -> bytes:
    try:
        with Path(path).open("rb") as file:
            return _bounded(file)
    except OSError as error:
        raise Unreadable(_words(error), hint="") from error


def _bounded(file: BinaryIO) -> bytes:
    content = file.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise too_large()
    return content


def _words(error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return "no such file or folder"
    return f"cannot be read: {error.strerror}"


def _opened(ref: Ref, content: bytes, *, named: bool) -> Iterator[File | Unread]:
    """A file as it is, or what is in it if it is an archive: told by its content, whatever its name."""
    refuse_other_packers(content)
    unpacked = gunzip(content)
    if is_tar(unpacked.content):
        yield from _archive(ref, unpacked.content)
    elif not unpacked.damage:
        yield File(ref, unpacked.content, named=named)
    if unpacked.damage:
        raise Unreadable(unpacked.damage)


def _archive(ref: Ref, content: bytes) -> Iterator[File | Unread]:
    for member in members(content):
        manifest = reports.is_manifest(member.path) or member.path.name.endswith(_MANIFESTS)
        place = ref.at(str(member.path))
        if member.content is None:
            yield Unread(place, member.why)
        else:
            yield File(
                place,
                member.content,
                manifest=manifest,
                resources=reports.is_resources(member.path),
                page=reports.page_in(member.path),
                modified=member.modified,
            )


def _folder(folder: str) -> Iterator[File | Unread]:
    """The manifests and archives in a folder, and every file of a bug-report that was unpacked in it."""
    refused: list[OSError] = []
    paths = sorted(Path(place, name) for place, _, names in os.walk(folder, onerror=refused.append) for name in names)
    for error in refused:
        if error.filename == folder:
            raise Unreadable(_words(error), hint="")
        yield Unread(place_of(error.filename), _words(error))
    bug_reports = {path.parent.parent for path in paths if reports.is_resources(path)}
    for path in paths:
        if _is_manifest(path) or _is_packed(path) or not bug_reports.isdisjoint(path.parents):
            yield from _found(path)


def _found(path: Path) -> Iterator[File | Unread]:
    ref = place_of(path)
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # reading a pipe would wait for ever
            return
        content = _content(str(path))
        if _is_packed(path):
            yield from _opened(ref, content, named=False)
        else:
            resources, page = reports.is_resources(path), reports.page_in(path)
            yield File(ref, content, manifest=_is_manifest(path), resources=resources, page=page)
    except Unreadable as error:
        yield Unread(ref, error.message)
    except OSError as error:
        yield Unread(ref, _words(error))


def _is_folder(path: str) -> bool:
    try:
        return Path(path).is_dir()
    except OSError:  # opening it will say why
        return False


def _is_manifest(path: PurePath) -> bool:
    return path.name.endswith(_MANIFESTS) or reports.is_manifest(path)


def _is_packed(path: PurePath) -> bool:
    return path.name.endswith(_PACKED)

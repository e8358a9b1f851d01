"""Archives, unpacked in memory only: whatever their names and links say, nothing is written."""

from __future__ import annotations

import gzip
import io
import zlib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from meshtrust.manifests.documents import Unreadable

if TYPE_CHECKING:
    import tarfile
    from collections.abc import Iterator

LARGEST = 1 << 30

_CHUNK = 1 << 20
_BLOCK = 512
_FIRST_ISTIO = 1_495_584_000  # 24 May 2017: an earlier time is one that was not kept
_LAST_YEAR = 253_402_300_799
_OTHER_PACKERS = (
    (b"PK\x03\x04", "zip"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ\0", "xz"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
)


@dataclass(frozen=True, slots=True)
class Member:
    """One file of an archive; None for a content that could not be read, and why."""

    path: PurePosixPath
    modified: datetime | None
    content: bytes | None = field(repr=False)
    why: str = ""


@dataclass(frozen=True, slots=True)
class Unpacked:
    """What came out before the archive ended, or its damage began."""

    content: bytes = field(repr=False)
    damage: str = ""


def too_large(limit: int = LARGEST) -> Unreadable:
    size = f"{limit >> 30} GiB" if limit >= 1 << 30 else f"{limit:,} bytes"
    return Unreadable(f"is larger than {size}", "unpack it, and give the files under cluster/ with -f")


def refuse_other_packers(content: bytes) -> None:
    for magic, name in _OTHER_PACKERS:
        if content.startswith(magic):
            raise Unreadable(f"is packed with {name}", "unpack it first, and give the files or the folder with -f")


def gunzip(content: bytes, limit: int = LARGEST) -> Unpacked:
    """The content itself if it is not packed."""
    if not content.startswith(b"\x1f\x8b"):
        return Unpacked(content)
    unpacked = io.BytesIO()
    with gzip.GzipFile(fileobj=io.BytesIO(content), mode="rb") as packed:
        try:
            while chunk := packed.read1(_CHUNK):
                unpacked.write(chunk)
                if unpacked.tell() > limit:
                    raise too_large(limit)
        except EOFError:
            return Unpacked(unpacked.getvalue(), "ends too early: the archive was cut")
        except (OSError, zlib.error):
            return Unpacked(unpacked.getvalue(), "is damaged: gzip cannot unpack all of it")
    return Unpacked(unpacked.getvalue())


def is_tar(content: bytes) -> bool:
    head = content[:_BLOCK]
    if b"\0" not in head or len(head) < _BLOCK:  # every header holds one, no text does
        return False
    import tarfile  # noqa: PLC0415 - only an archive pays for it

    try:
        tarfile.TarInfo.frombuf(head, "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return not content.strip(b"\0")  # an archive of nothing
    return True


def members(content: bytes, limit: int = LARGEST) -> Iterator[Member]:
    """Each regular file of a tar archive. Raises `Unreadable` where the archive ends too early or is damaged."""
    import tarfile  # noqa: PLC0415 - only an archive pays for it

    last, left = "its beginning", limit
    try:
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as archive:
            for entry in archive:
                if entry.size < 0:  # the next one would be this one, for ever
                    break
                if entry.isreg():
                    yield (member := _member(archive, entry, left))
                    last, left = str(member.path), left - len(member.content or b"")
            end = content[archive.offset :]
    except (tarfile.TarError, OSError, ValueError, OverflowError):
        end = b""
    # tarfile takes any block that is no header for the end; the true end is blocks of zeros.
    if len(end) < _BLOCK or end.strip(b"\0"):
        raise Unreadable(f"was cut or damaged: what follows {last} was not read", "fetch it again")


def _member(archive: tarfile.TarFile, entry: tarfile.TarInfo, left: int) -> Member:
    path = PurePosixPath(entry.name.encode("utf-8", "backslashreplace").decode())
    kept = _FIRST_ISTIO <= entry.mtime <= _LAST_YEAR
    modified = datetime.fromtimestamp(int(entry.mtime), UTC) if kept else None
    if entry.size > left:  # only sparse files claim more than there is
        return Member(path, modified, None, "is larger than what may be unpacked")
    stream = archive.extractfile(entry)
    return Member(path, modified, stream.read() if stream else b"")

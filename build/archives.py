"""What people download: one archive for each plugin and platform, named as krew names systems and machines."""

from __future__ import annotations

import gzip
import hashlib
import io
import platform
import re
import sys
import tarfile
from dataclasses import dataclass
from typing import TYPE_CHECKING
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

_SYSTEMS = {"Linux": "linux", "Darwin": "darwin", "Windows": "windows"}
_MACHINES = {"x86_64": "amd64", "AMD64": "amd64", "aarch64": "arm64", "arm64": "arm64", "ARM64": "arm64"}
_NAME = re.compile(
    r"kubectl-(?P<plugin>istio_[a-z]+)_v(?P<version>.+)_(?P<os>linux|darwin|windows)_(?P<arch>amd64|arm64)"
    r"\.(tar\.gz|zip)"
)
_MODIFIED = 315532800  # 1980: every file in an archive is as old as a zip file can say


@dataclass(frozen=True, slots=True)
class Archive:
    """One that lies in a folder, by what its name says."""

    file: Path
    plugin: str
    os: str
    arch: str

    @property
    def binary(self) -> str:
        return f"kubectl-{self.plugin}{'.exe' if self.os == 'windows' else ''}"

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.file.read_bytes()).hexdigest()


def pack(binary: Path, version: str, papers: Mapping[str, bytes]) -> Path:
    """Put the plugin and its papers (LICENSE, notices) into an archive for this platform, without a link in it."""
    ending = "zip" if sys.platform == "win32" else "tar.gz"
    archive = binary.with_name(f"{binary.name.removesuffix('.exe')}_v{version}_{this_platform()}.{ending}")
    write_archive(archive, binary.name, binary.read_bytes(), papers)
    return archive


def write_archive(archive: Path, name: str, binary: bytes, papers: Mapping[str, bytes]) -> None:
    """Write a zip or a tar.gz, by its name: regular files with their modes, all of one old time."""
    files = [*((paper, papers[paper], 0o644) for paper in sorted(papers)), (name, binary, 0o755)]
    if archive.suffix == ".zip":
        _zip(archive, files)
    else:
        archive.write_bytes(gzip.compress(_tar(files), mtime=0))


def this_platform() -> str:
    return f"{_SYSTEMS[platform.system()]}_{_MACHINES[platform.machine()]}"


def archives_in(folder: Path, version: str) -> list[Archive]:
    """All of this version, for whatever platform."""
    named = ((file, _NAME.fullmatch(file.name)) for file in sorted(folder.iterdir()))
    return [
        Archive(file, name["plugin"], name["os"], name["arch"])
        for file, name in named
        if name and name["version"] == version
    ]


def write_checksums(folder: Path, files: Iterable[Path]) -> None:
    sums = [f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in sorted(files)]
    (folder / "checksums.txt").write_text("".join(sums))


def _tar(files: Iterable[tuple[str, bytes, int]]) -> bytes:
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, content, mode in files:
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode, entry.mtime = len(content), mode, _MODIFIED
            tar.addfile(entry, io.BytesIO(content))
    return whole.getvalue()


def _zip(archive: Path, files: Iterable[tuple[str, bytes, int]]) -> None:
    with ZipFile(archive, "w", ZIP_DEFLATED, compresslevel=9) as opened:
        for name, content, mode in files:
            entry = ZipInfo(name)
            entry.create_system, entry.external_attr = 3, (0o100000 | mode) << 16  # modes as Unix has them
            entry.compress_type = ZIP_DEFLATED
            opened.writestr(entry, content)

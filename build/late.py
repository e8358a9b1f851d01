"""Libraries that a single file unpacks when they are imported, and not at each start.

Two thirds of what would be unpacked are libraries that `--version` and `--help` never load. They are put into the
archive of the modules (PYZ), behind the last module, and `startup` copies them from there.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

LARGE = 100_000
# What is loaded with an extension module, by the beginnings of the files' names.
LOADED_WITH = {"_hashlib": ("libcrypto.so",), "_ssl": ("libcrypto.so", "libssl.so")}


@dataclass(frozen=True, slots=True)
class Late:
    """A file to be unpacked as `name` before any of some modules is imported; one of them may be the file itself."""

    name: str
    content: bytes
    modules: tuple[str, ...]


def binaries(found: Iterable[tuple[str, str, str]]) -> list[Late]:
    """Choose from what PyInstaller found: large extension modules, and what is loaded with some."""
    chosen = []
    for name, source, kind in found:
        needed_by = tuple(module for module, beginnings in LOADED_WITH.items() if name.startswith(beginnings))
        if kind == "EXTENSION" and Path(source).stat().st_size > LARGE:
            needed_by = (module_in(name),)
        if needed_by:
            chosen.append(Late(name, stripped(source), needed_by))
    return chosen


def module_in(name: str) -> str:
    path = name.removeprefix(f"python3.{sys.version_info.minor}/lib-dynload/")
    return path.partition(".")[0].replace("/", ".")


def stripped(source: str) -> bytes:
    with NamedTemporaryFile() as smaller:
        subprocess.run(["strip", "-o", smaller.name, source], check=True)
        return Path(smaller.name).read_bytes()


def index(files: Sequence[Late], module: Path) -> list[tuple[str, str, str]]:
    """Write the module that tells `startup` what to unpack for whom, and how far before the end of all each begins."""
    needs: dict[str, list[tuple[str, int, int]]] = {}
    begin = sum(len(file.content) for file in files)
    for file in files:
        for needed_by in file.modules:
            needs.setdefault(needed_by, []).append((file.name, begin, len(file.content)))
        begin -= len(file.content)
    own = {module_in(file.name): file.name for file in files if module_in(file.name) in file.modules}
    module.write_text(f"NEEDS = {needs!r}\nFILES = {own!r}\n")
    return [(module.stem, str(module), "PYMODULE")]


def put_behind(archive: Path, files: Sequence[Late]) -> None:
    """Insert the files before the table of a PYZ: it is a header (its bytes 8 to 12 say where), modules, table."""
    before = archive.read_bytes()
    table = int.from_bytes(before[8:12], "big")
    added = b"".join(file.content for file in files)
    moved = (table + len(added)).to_bytes(4, "big")
    archive.write_bytes(before[:8] + moved + before[12:table] + added + before[table:])

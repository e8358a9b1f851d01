"""The single files themselves: made by PyInstaller after `plugins.spec`, for the machine that this runs on."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from clone import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

# Nothing is compressed in the single file, so the versions of symbols stand in it as the linker wrote them.
_GLIBC = re.compile(rb"GLIBC_(2)\.(\d+)(?:\.\d+)?\0")
_RELATIVE_RELOCATIONS = (2, 36)  # what GLIBC_ABI_DT_RELR asks for


@dataclass(frozen=True, slots=True)
class Frozen:
    """A plugin in a single file, and the files that it was made of."""

    plugin: str
    file: Path
    sources: tuple[str, ...]


def what_lacks() -> str:
    """One line that says what PyInstaller would stumble over, or nothing."""
    if sys.platform == "linux":
        tools = [tool for tool in ("ldd", "objcopy", "objdump", "strip") if not shutil.which(tool)]
        if tools:
            return f"no {', '.join(tools)} here (Debian, Ubuntu: apt install binutils)"
    # Its import starts ldd, and it has no types.
    from PyInstaller.depend.bindepend import get_python_library_path  # type: ignore[import-untyped]  # noqa: PLC0415

    try:
        get_python_library_path()
    except SystemExit:
        return f"{sys.base_prefix} has no shared libpython (Debian, Ubuntu: apt install libpython3-dev)"
    return ""


def freeze(output: Path) -> list[Frozen]:
    """Make every plugin that has a `__main__`. Raises CalledProcessError with all that PyInstaller said."""
    work = output / ".work"
    command = [sys.executable, "-m", "PyInstaller", "--noconfirm", "--clean", "--log-level=WARN"]
    command += [f"--distpath={output}", f"--workpath={work}", str(ROOT / "build/plugins.spec")]
    settings = {
        "PYTHONHASHSEED": "0",  # what makes two builds equal
        "PYINSTALLER_CONFIG_DIR": str(work / "cache"),
        "PYINSTALLER_ZLIB_COMPRESSION_LEVEL": "0",
    }
    subprocess.run(command, env=os.environ | settings, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=True)
    ending = ".exe" if sys.platform == "win32" else ""
    return [
        Frozen(
            plugin,
            output / f"kubectl-{plugin}{ending}",
            tuple((work / f"plugins/{plugin}.contents").read_text(encoding="utf-8").splitlines()),
        )
        for plugin in sorted(main.parent.name for main in ROOT.glob("plugins/*/__main__.py"))
    ]


def glibc(files: Iterable[Path]) -> tuple[int, int] | None:
    """The oldest GLIBC that all the files run on; None where they need none at all."""
    needed: set[tuple[int, int]] = set()
    for file in files:
        content = file.read_bytes()
        needed.update((int(major), int(minor)) for major, minor in _GLIBC.findall(content))
        if b"GLIBC_ABI_DT_RELR\0" in content:
            needed.add(_RELATIVE_RELOCATIONS)
    return max(needed, default=None)


def too_demanding(needed: tuple[int, int] | None, limit: tuple[int, int] | None) -> str:
    """One line that says that a newer GLIBC is needed than was promised, or nothing."""
    if not needed or not limit or needed <= limit:
        return ""
    promised = ".".join(map(str, limit))
    return f"GLIBC {'.'.join(map(str, needed))} is newer than {promised}: build on an older system"

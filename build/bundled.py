"""What a single file is made of beside our own modules, whose it is, and under which licence."""

from __future__ import annotations

import json
import platform
import re
import ssl
import subprocess
import sys
import sysconfig
import zlib
from dataclasses import dataclass, field
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clone import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_OURS = (ROOT / "plugins", ROOT / "build")
_PAPERS = re.compile(r"(licen[cs]e|copying|notice)s?([.-].*)?", re.IGNORECASE)
# Of the parts that a wheel lists in a bill of its own, what is passed on.
_SAID_OF_PARTS = ("type", "name", "version", "purl", "licenses", "hashes")


class Unlicensed(Exception):
    """A file whose licence nobody knows would be given away."""


@dataclass(frozen=True, slots=True)
class Component:
    """Somebody else's work: `texts` are what its licence wants to be told, `parts` what it has from others in turn."""

    name: str
    version: str
    licence: str
    purl: str
    texts: tuple[str, ...] = field(repr=False)
    parts: tuple[Mapping[str, Any], ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class _Library:
    """One of the system or of Python's installer, by the beginnings of its files' names."""

    beginnings: tuple[str, ...]
    name: str
    version: str
    licence: str


_BEFORE_3 = ssl.OPENSSL_VERSION_INFO < (3,)  # it had a licence of its own
_OPENSSL = _Library(
    ("libcrypto", "libssl"), "openssl", ssl.OPENSSL_VERSION.split()[1], "OpenSSL" if _BEFORE_3 else "Apache-2.0"
)
_LIBRARIES = (
    _OPENSSL,
    _Library(("libz.", "zlib1."), "zlib", zlib.ZLIB_RUNTIME_VERSION, "Zlib"),
    _Library(("libgcc_s.",), "libgcc", "", "GPL-3.0-or-later WITH GCC-exception-3.1"),
    _Library(("libffi",), "libffi", "", "MIT"),
    _Library(("libmpdec",), "libmpdec", "", "BSD-2-Clause"),
    _Library(("vcruntime", "ucrtbase", "api-ms-win-"), "visual-c-runtime", "", "LicenseRef-Microsoft-Visual-C-Runtime"),
)
# C libraries that are linked into the extension modules of a wheel and that its papers do not name.
_LINKED_IN = {
    "cffi": ({"type": "library", "name": "libffi", "licenses": [{"license": {"id": "MIT"}}]},),
    "pyyaml": ({"type": "library", "name": "libyaml", "licenses": [{"license": {"id": "MIT"}}]},),
}


def components(sources: Iterable[str]) -> list[Component]:
    """Name the owner of each file, Python and PyInstaller's bootloader included. Raises Unlicensed."""
    packages = {file: package for package in distributions() for file in _files(package)}
    used: dict[str, Distribution] = {"pyinstaller": Distribution.from_name("pyinstaller")}
    libraries: dict[str, tuple[_Library, str]] = {}
    for source in sources:
        if package := packages.get(source):
            used[_name(package)] = package
        elif any(map(Path(source).is_relative_to, _OURS)):
            continue
        elif library := _library(source):
            libraries.setdefault(library.name, (library, source))
        elif not _is_pythons(source):
            raise Unlicensed(f"{source} would be in the single file, and build/bundled.py does not know its licence")
    found = [_python(), *map(_of_package, used.values()), *(_of_library(*one) for one in libraries.values())]
    return sorted(found, key=lambda component: component.name)


def notices(bundled: Sequence[Component]) -> str:
    """All the texts, in one file for people."""
    said = ["This program is distributed under the licence in the file LICENSE. It contains the works of others:\n"]
    for component in bundled:
        title = f"{component.name} {component.version}".strip()
        parts = [f"  contains {part['name']} {part.get('version', '')}".rstrip() for part in component.parts]
        said.append("\n".join(["", "=" * 80, f"{title} ({component.licence})", *parts, "=" * 80, ""]))
        said += [f"{text.strip()}\n" for text in component.texts]
    return "\n".join(said)


def _files(package: Distribution) -> list[str]:
    place = Path(str(package.locate_file(""))).resolve()
    return [str(place / file) for file in package.files or () if not str(file).endswith(".pyc")]


def _name(package: Distribution) -> str:
    return re.sub(r"[-_.]+", "-", package.metadata["Name"]).lower()


def _library(source: str) -> _Library | None:
    name = Path(source).name.lower()
    return next((library for library in _LIBRARIES if name.startswith(library.beginnings)), None)


def _is_pythons(source: str) -> bool:
    places = [Path(sysconfig.get_path(key)).resolve() for key in ("stdlib", "platstdlib")]
    places += [Path(sys.base_prefix).resolve() / "DLLs"]
    path = Path(source)
    return any(map(path.is_relative_to, places)) or path.name.lower().startswith(("libpython", "python"))


def _python() -> Component:
    version = platform.python_version()
    places = [Path(sysconfig.get_path("stdlib"), "LICENSE.txt"), Path(sys.base_prefix, "LICENSE.txt")]
    places += [Path(f"/usr/share/doc/python{sys.version_info.major}.{sys.version_info.minor}/copyright")]
    text = next((place.read_text(encoding="utf-8") for place in places if place.is_file()), "")
    if not text:
        raise Unlicensed(f"Python's own licence is in none of {', '.join(map(str, places))}")
    return Component("python", version, "PSF-2.0", f"pkg:generic/python@{version}", (text,))


def _of_package(package: Distribution) -> Component:
    name, said = _name(package), package.metadata
    licence = said.get("License-Expression") or said.get("License") or ""
    if name == "pyinstaller":
        licence = "GPL-2.0-or-later WITH Bootloader-exception"
    papers = [Path(str(package.locate_file(file))) for file in package.files or () if _PAPERS.fullmatch(file.name)]
    parts = (*_listed_parts(package), *_LINKED_IN.get(name, ()))
    texts = [file.read_text(encoding="utf-8") for file in papers if file.suffix not in {".py", ".pyc"}]
    texts += [text for part in parts if (text := _own_text(str(part["name"])))]
    if not licence or not texts:
        raise Unlicensed(f"the package {name} has {'no licence text' if licence else 'no licence'}")
    purl = f"pkg:pypi/{name}@{package.version}"
    return Component(name, package.version, " ".join(licence.split()), purl, tuple(dict.fromkeys(texts)), parts)


def _listed_parts(package: Distribution) -> list[Mapping[str, Any]]:
    """Read the bills of materials that a wheel may carry (PEP 770)."""
    bills = [file for file in package.files or () if "sboms" in file.parts and file.suffix == ".json"]
    parts = [part for bill in sorted(bills) for part in json.loads(bill.read_text()).get("components", [])]
    return [{key: part[key] for key in _SAID_OF_PARTS if key in part} for part in parts]


def _of_library(library: _Library, source: str) -> Component:
    own, systems = _own_text(library.name) if library.licence != "OpenSSL" else "", _systems_text(source)
    if not own and not systems:
        raise Unlicensed(f"no licence text is found for {source}")
    version = f"@{library.version}" if library.version else ""
    texts = (own,) if own else (systems,)
    return Component(library.name, library.version, library.licence, f"pkg:generic/{library.name}{version}", texts)


def _own_text(name: str) -> str:
    file = ROOT / f"build/notices/{name}.txt"
    return file.read_text(encoding="utf-8") if file.is_file() else ""


def _systems_text(source: str) -> str:
    """Find what the package that brought a library says of it: Debian's copyright file, or Red Hat's licences."""
    for command, pattern in (
        (("dpkg", "-S", f"*/{Path(source).name}"), "/usr/share/doc/{}/copyright"),
        (("rpm", "-qf", "--queryformat", "%{NAME}", source), "/usr/share/licenses/{}/*"),
    ):
        try:
            owner = subprocess.run(command, capture_output=True, text=True, check=True).stdout.partition(":")[0]
        except (OSError, subprocess.CalledProcessError):
            continue
        found = sorted(Path("/").glob(pattern.format(owner.strip()).lstrip("/")))
        if owner.strip() and found:
            return "\n".join(file.read_text(encoding="utf-8") for file in found)
    return ""

"""What the single file has compiled beforehand is what Python would have compiled; what it lacks is compiled then."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from releasing import ROOT

SHAPES = """
import re
from dataclasses import dataclass, field
from re import _compiler

PATTERNS = [re.compile(*one) for one in (
    ("a(?P<name>b)?|[^c-e]{2,}", re.I | re.M), ("", 0), (rb"(x)\\1*?(?=y)", re.S), ("ä+(?i:ö)", re.A))]

@dataclass(frozen=True, slots=True, order=True)
class Shape:
    name: str
    sides: tuple[int, ...] = field(default=(), repr=False)
"""
ASKED = """
import dataclasses, re, shapes
from dataclasses import dataclass

@dataclass
class Unforeseen:
    name: str

square = shapes.Shape("square", (1, 1, 1, 1))
assert (repr(square), hash(square)) == ("Shape(name='square')", hash(("square", (1, 1, 1, 1))))
assert square == shapes.Shape("square", (1,) * 4) > shapes.Shape("circle")
assert Unforeseen("one") == Unforeseen("one") != Unforeseen("other")
assert shapes._compiler.compile("[unforeseen]+", 0).match("seen")
for pattern in shapes.PATTERNS:
    assert pattern == re._compiler._compile_anew(pattern.pattern, pattern.flags & ~re.U), pattern
print(len(shapes.PATTERNS))
"""
ASKED_STRICTLY = """
import re, foreseen_texts

class Foreseen(dict):
    get = dict.__getitem__

foreseen_texts.METHODS = Foreseen(foreseen_texts.METHODS)
re._compiler._compile_anew = None
import shapes
print(shapes.Shape("square"))
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Holds the modules as they would be in the single file."""
    amending = "import foreseen, sys; sys.stdout.write(foreseen.amended(sys.argv[1]))"
    (tmp_path / "shapes.py").write_text(SHAPES, encoding="utf-8")
    (tmp_path / "foreseen_texts.py").write_text(_run(tmp_path, ROOT / "build/foreseen.py", stdin="shapes"), "utf-8")
    (tmp_path / "dataclasses.py").write_text(_run(tmp_path, "-c", amending, "dataclasses"), "utf-8")
    regular = tmp_path / "re"
    regular.mkdir()
    for file in Path(_run(tmp_path, "-c", "import re; print(re.__path__[0])").strip()).glob("*.py"):
        (regular / file.name).write_bytes(file.read_bytes())
    (regular / "_compiler.py").write_text(_run(tmp_path, "-c", amending, "re._compiler"), "utf-8")
    return tmp_path


def test_what_was_foreseen_works_like_what_was_not(folder: Path) -> None:
    assert _run(folder, "-c", ASKED) == "4\n"


def test_all_of_it_was_foreseen(folder: Path) -> None:
    assert _run(folder, "-c", ASKED_STRICTLY) == "Shape(name='square')\n"


def _run(folder: Path, *arguments: str | Path, stdin: str = "") -> str:
    environment = {"PYTHONPATH": f"{folder}:{ROOT / 'build'}", "PYTHONDONTWRITEBYTECODE": "1", "PYTHONUTF8": "1"}
    command = (sys.executable, "-S", *arguments)
    done = subprocess.run(command, env=environment, input=stdin, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout

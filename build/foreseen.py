"""What every start would compile anew, compiled at build time: regular expressions, and the methods of dataclasses.

Both are texts that Python turns into code whenever a module is imported: a third of the start of a command. Here they
are compiled once, by the same Python, and what its own modules look up is put into the single file.

Run by itself it imports the modules that stdin names, and writes what that compiled to stdout, as a module.
"""

from __future__ import annotations

import marshal
import re._compiler as regular  # type: ignore[import-not-found]
import sys
from array import array

TYPE_CHECKING = False  # what is imported here is not heard: no more than this
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

# What is put behind the text of Python's own modules. A text that was not foreseen is compiled as ever.
_ADDED = {
    "re._compiler": """
_compile_anew = compile


def compile(p, flags=0):
    try:
        from foreseen_texts import PATTERNS
    except ImportError:  # before the archive can be read
        PATTERNS = {}
    known = PATTERNS.get((p, flags)) if isstring(p) else None
    if known is None:
        return _compile_anew(p, flags)
    flags, code, groups, index, names = known
    return _sre.compile(p, flags, memoryview(code).cast("I").tolist(), groups, index, names)
""",
    "dataclasses": """
def exec(text, *names):
    from builtins import exec
    from marshal import loads
    from foreseen_texts import METHODS
    known = METHODS.get(text)
    exec(text if known is None else loads(known), *names)
""",
}
AMENDED = tuple(_ADDED)


def amended(name: str) -> str:
    """The text of one of Python's modules with the addition."""
    from importlib.util import find_spec  # noqa: PLC0415 - see above
    from pathlib import Path  # noqa: PLC0415

    found = find_spec(name)
    return Path(found.origin if found and found.origin else "").read_text(encoding="utf-8") + _ADDED[name]


def compiled(name: str) -> bytes:
    """The same as a .pyc that nobody compares with its source (PEP 552)."""
    from importlib.util import MAGIC_NUMBER  # noqa: PLC0415 - see above

    code = compile(amended(name), f"{name.replace('.', '/')}.py", "exec", dont_inherit=True, optimize=2)
    return MAGIC_NUMBER + bytes(12) + marshal.dumps(code)


class _Ears:
    """Stands in for `_sre`, and hears what a pattern became."""

    def __init__(self, real: Any) -> None:
        self._real = real
        self.heard: tuple[Any, ...] = ()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def compile(self, *arguments: Any) -> Any:
        self.heard = arguments
        return self._real.compile(*arguments)


def foreseen(modules: Iterable[str]) -> str:
    """Import these, and tell what that compiled. What cannot be imported here will not be there, either."""
    patterns: dict[Any, Any] = {}
    methods: dict[str, bytes] = {}
    anew, ears = regular.compile, _Ears(regular._sre)  # noqa: SLF001 - there is no public way in

    def listen(p: Any, flags: int = 0) -> Any:
        found = anew(p, flags)
        if isinstance(p, str | bytes):
            _, all_flags, code, *rest = ears.heard
            patterns[p, int(flags)] = (int(all_flags), array("I", code).tobytes(), *rest)
        return found

    def execute(text: str, *names: Any) -> None:
        code = compile(text, "<string>", "exec", dont_inherit=True, optimize=2)
        methods[text] = marshal.dumps(code)
        exec(code, *names)  # noqa: S102 - as `dataclasses` does

    regular.compile, regular._sre = listen, ears  # noqa: SLF001
    import dataclasses  # noqa: PLC0415 - its own imports are heard
    from contextlib import suppress  # noqa: PLC0415
    from importlib import import_module  # noqa: PLC0415

    dataclasses.exec = execute  # type: ignore[attr-defined]
    for name in modules:
        with suppress(ImportError):
            import_module(name)
    return f"PATTERNS = {patterns!r}\nMETHODS = {methods!r}\n"


if __name__ == "__main__":
    sys.stdout.write(foreseen(sys.stdin.read().split()))

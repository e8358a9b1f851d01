"""Lets several commands do the same by turns, and measures them: `python turns.py RUNS FOLDER <contenders.json`.

A small process of its own: what the one that starts a command holds in memory is counted as the command's.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_CONTINUE = re.compile(rb'"continue":"([^"]+)"')


def main(runs: int, folder: Path) -> None:
    contenders = json.load(sys.stdin)
    found: list[dict[str, Any]] = [{"seconds": [], "memory": 0, "codes": []} for _ in contenders]
    for _ in range(1 + runs):  # one to warm up; by turns, so that a busy moment meets all of them
        for contender, result in zip(contenders, found, strict=True):
            begin = perf_counter()
            for command in _commands(contender, folder / "output"):
                memory, code = _run(command, folder / "output")
                result["memory"] = max(result["memory"], memory)
                result["codes"] = sorted({*result["codes"], code})
            result["seconds"].append(perf_counter() - begin)
    json.dump(found, sys.stdout)


def _commands(contender: Mapping[str, Any], output: Path) -> Iterator[list[str]]:
    """Give the commands of one run; of a list in pages each page is in the answer before it."""
    yield from contender.get("commands", ())
    first = path = contender.get("pages", "")
    while path:
        yield ["kubectl", "get", "--raw", path]
        with output.open("rb") as answer:
            told = _CONTINUE.search(answer.read(4096))
        path = f"{first}&continue={told[1].decode()}" if told else ""


def _run(command: list[str], output: Path) -> tuple[int, int]:
    """Give the most memory in KiB, and the exit code."""
    with output.open("wb") as out, subprocess.Popen(command, stdout=out, stderr=subprocess.DEVNULL) as process:
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    return used.ru_maxrss, process.returncode


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))

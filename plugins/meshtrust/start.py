"""From a process to a command, and back to an exit code. Nothing heavy is imported before it is needed."""

from __future__ import annotations

import os
import signal
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from meshtrust import __version__

if TYPE_CHECKING:
    from types import FrameType, TracebackType
    from typing import NoReturn

INTERRUPTED = 130
UNKNOWN = 3


def start(tool: str, app: str) -> NoReturn:
    """Run the `app` (a module with a Typer of that name) of a plugin, and exit as it says."""
    signal.signal(signal.SIGINT, _interrupt)
    arguments = sys.argv[1:]
    options = arguments[: arguments.index("--")] if "--" in arguments else arguments
    if "--version" in options:
        _leave(_print_version(tool))
    try:
        cli = import_module("meshtrust.cli")
        code = cli.run(import_module(app).app, tool, sys.argv)
    except KeyboardInterrupt:
        code = INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the last resort: a traceback could show what a Secret held
        where = _innermost(error.__traceback__)
        print(f"error: {type(error).__name__} at {where} - a defect of this program, please report it", file=sys.stderr)  # noqa: T201
        code = UNKNOWN
    _leave(code)


def _print_version(tool: str) -> int:
    print(f"{tool} {__version__}")  # noqa: T201
    return 0


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    # A single-file binary gets Ctrl-C twice: from the terminal, and passed on by its bootloader.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise KeyboardInterrupt


def _innermost(traceback: TracebackType | None) -> str:
    place = "?"
    while traceback is not None:
        code = traceback.tb_frame.f_code
        place = f"{Path(code.co_filename).name}:{traceback.tb_lineno}"
        traceback = traceback.tb_next
    return place


def _leave(code: int) -> NoReturn:
    """Flush and exit; a reader that went away (`| head`) is no error."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)

"""From a process to a command, and back to an exit code. Nothing heavy is imported before it is needed."""

from __future__ import annotations

import os
import sys

from meshtrust import __version__
from meshtrust.errors import INTERRUPTED

TYPE_CHECKING = False  # type checkers know it by its name: `typing`, as `signal` and `pathlib`, is a tenth of a start
if TYPE_CHECKING:
    from types import FrameType, TracebackType
    from typing import NoReturn

UNKNOWN = 3


def start(tool: str, app: str) -> NoReturn:
    """Run the `app` (a module with a Typer of that name) of a plugin, and exit as it says."""
    arguments = sys.argv[1:]
    unfinished = _unfinished(sys.argv)
    options = arguments[: arguments.index("--")] if "--" in arguments else arguments
    if "--version" in options and unfinished is None:
        _leave(_print_version(tool))
    _quit_at_the_first_interrupt()
    try:
        from importlib import import_module  # noqa: PLC0415 - --version does not pay for it

        if unfinished is not None:
            sys.stdout.write(import_module("meshtrust.completion").complete(app, unfinished))
            code = 0
        elif arguments[:1] == ["completion"]:
            code = import_module("meshtrust.completion").print_script(tool, arguments[1:])
        else:
            code = import_module("meshtrust.cli").run(import_module(app).app, tool, sys.argv)
    except KeyboardInterrupt:
        code = INTERRUPTED
    except OSError as error:
        code = _not_written(error)
    except Exception as error:  # noqa: BLE001 - the last resort: a traceback could show what a Secret held
        where = _innermost(error.__traceback__)
        print(f"error: {type(error).__name__} at {where} - a defect of this program, please report it", file=sys.stderr)  # noqa: T201
        code = UNKNOWN
    _leave(code)


def _unfinished(argv: list[str]) -> list[str] | None:
    """Give the words that kubectl or a shell wants completed, where it is that what this was called for."""
    if os.path.basename(argv[0]).startswith("kubectl_complete-"):  # noqa: PTH119 - see the imports
        return argv[1:]
    return argv[2:] if argv[1:2] == ["__complete"] else None


def _print_version(tool: str) -> int:
    print(f"{tool} {__version__}")  # noqa: T201
    return 0


def _quit_at_the_first_interrupt() -> None:
    import signal  # noqa: PLC0415 - --version does not pay for it

    def interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
        # A single-file binary gets Ctrl-C twice: from the terminal, and passed on by its bootloader.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, interrupt)


def _not_written(error: OSError) -> int:
    """All reading turns its errors into a ToolError: what is left is the output (a full disk)."""
    print(f"error: the output cannot be written: {error.strerror or type(error).__name__}", file=sys.stderr)  # noqa: T201
    _write_no_more()
    return UNKNOWN


def _write_no_more() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _innermost(traceback: TracebackType | None) -> str:
    place = "?"
    while traceback is not None:
        code = traceback.tb_frame.f_code
        place = f"{os.path.basename(code.co_filename)}:{traceback.tb_lineno}"  # noqa: PTH119 - see the imports
        traceback = traceback.tb_next
    return place


def _leave(code: int) -> NoReturn:
    """Flush and exit; a reader that went away (`| head`) is no error."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _write_no_more()
    except OSError as error:
        code = _not_written(error)
    if getattr(sys, "frozen", False):
        # Taking a hundred thousand objects down one by one takes 20 ms, and nothing is left to be done by any of them.
        import atexit  # noqa: PLC0415 - part of the interpreter

        atexit._run_exitfuncs()  # noqa: SLF001 - what the interpreter itself would call
        os._exit(code)
    sys.exit(code)

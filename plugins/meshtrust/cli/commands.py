"""Commands: how they are declared, parsed, and run."""

from __future__ import annotations

import copy
import dataclasses
import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer
from typer.exceptions import TyperException

from meshtrust.cli.executing import Judge, execute
from meshtrust.cli.options import Options
from meshtrust.cli.terminal import complain
from meshtrust.errors import UsageError
from meshtrust.spelling import kubectl_spelling

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

HELP_NAMES = {"help_option_names": ["-h", "--help"]}
EXIT_CODES = "Exit codes: 0 ok, 1 warning, 2 critical, 3 unknown or incomplete, 64 usage, 130 interrupted."


def command(
    app: typer.Typer, name: str, *, examples: str, exit_codes: str = EXIT_CODES, unshown: Collection[str] = ()
) -> Callable[..., Any]:
    """Make a command of a function that takes its own options and gives a `Judge`.

    The shared options become parameters of the command beside its own. `unshown` names those (fields of `Options`) that
    its help does not offer, for it refuses them in words.
    """

    def declare(function: Callable[..., Judge]) -> Callable[..., Any]:
        hints = get_type_hints(Options, include_extras=True)
        shared = [
            inspect.Parameter(
                field.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=field.default,
                annotation=_hidden(hints[field.name]) if field.name in unshown else hints[field.name],
            )
            for field in dataclasses.fields(Options)
        ]
        own = inspect.signature(function, eval_str=True).parameters.values()

        def call(**values: Any) -> int:
            options = Options(**{parameter.name: values.pop(parameter.name) for parameter in shared})
            return execute(str(app.info.name), name, options, lambda: function(**values))

        parameters = [*own, *shared]
        call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # how Typer sees a function
        call.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        app.command(
            name,
            help=f"{inspect.getdoc(function)}\n\n\b\nExamples:\n{examples}\n\n{exit_codes}",
            context_settings=HELP_NAMES,
        )(call)
        return function

    return declare


def _hidden(hint: Any) -> Any:
    """The same option, which works and is not in the help."""
    (option,) = hint.__metadata__
    unshown = copy.copy(option)
    unshown.hidden = True
    return Annotated[hint.__origin__, unshown]


class _AsTyped:
    """Takes the values of options as they were typed. typer would ask pydantic: 100 ms at each start, and 5 MB."""

    def __init__(self, descriptor: Any) -> None:
        self._choices: tuple[Any, ...] | None = descriptor.choices
        self._annotation = descriptor.annotation

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        if value is None:
            return () if param.multiple else None
        if self._choices is None:
            return _number(value, param, ctx) if self._annotation is int else value
        for choice in self._choices:
            if choice == value:
                return choice
        listed = ", ".join(repr(str(choice)) for choice in self._choices)
        raise typer.BadParameter(f"{value!r} is not one of {listed}", ctx=ctx, param=param)


def _number(value: Any, param: Any, ctx: Any) -> int:
    try:
        return int(value)
    except ValueError:
        raise typer.BadParameter(f"{value!r} is not a whole number", ctx=ctx, param=param) from None


vars(typer.core)["build_runtime_param"] = _AsTyped


def run(app: typer.Typer, tool: str, argv: Sequence[str]) -> int:
    """Run a plugin's command line and give its exit code; the only place that speaks of errors."""
    program = f"kubectl {tool}" if Path(argv[0]).name.startswith("kubectl-") else tool
    root, verbs = commands_of(app)
    root.epilog = f"For completion in a shell: {program} completion bash|zsh|fish"
    try:
        arguments = _spelled(root, verbs, argv[1:]) or (["--help"] if verbs else [])
        code = root.main(arguments, prog_name=program, standalone_mode=False)
    except TyperException as error:
        verb = next((f" {word}" for word in argv[1:] if word in verbs), "")
        return complain(UsageError(error.format_message().rstrip("."), f"see '{program}{verb} --help'"))
    except UsageError as error:
        return complain(error)
    return code if isinstance(code, int) else 0


def commands_of(app: typer.Typer) -> tuple[Any, dict[str, Any]]:
    """What a command line is parsed by: the plugin's command, and its verbs where it has more than one command."""
    root = typer.main.get_command(app)
    return root, getattr(root, "commands", {})


def parse_options(app: typer.Typer, words: Sequence[str]) -> Options:
    """Read the shared options out of an unfinished command line, with a verb or without one. Raises UsageError."""
    root, verbs = commands_of(app)
    arguments = _spelled(root, verbs, words)
    command = verbs.get(arguments[0]) if arguments else None
    rest = arguments[1:] if command else arguments
    command = command or next(iter(verbs.values()), root)
    try:
        said = command.make_context("", rest).params
    except TyperException as error:
        raise UsageError(error.format_message()) from error
    return Options(**{field.name: said[field.name] for field in dataclasses.fields(Options)})


def _spelled(root: Any, verbs: dict[str, Any], words: Sequence[str]) -> list[str]:
    parameters = [parameter for one in (root, *verbs.values()) for parameter in one.params]
    return kubectl_spelling(verbs, parameters, words)

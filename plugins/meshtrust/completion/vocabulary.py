"""The words of a plugin: its verbs and options, and what each option wants to be told."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from enum import Enum, StrEnum
from importlib import import_module
from typing import Any


class Live(StrEnum):
    """Values that are asked for when they are wanted."""

    CONTEXT = "context"
    CLUSTER = "cluster"
    USER = "user"
    NAMESPACE = "namespace"
    REVISION = "revision"
    PROXY = "proxy"


@dataclass(frozen=True, slots=True)
class Option:
    """An option, or with no name what may stand as an operand.

    takes: whether a value belongs to it; choices: its values where they are few; live: where they are asked for
    """

    names: tuple[str, ...]
    meaning: str = ""
    takes: bool = True
    repeats: bool = False
    file: bool = False
    choices: tuple[str, ...] = ()
    live: str = ""


@dataclass(frozen=True, slots=True)
class Verb:
    """A command of a plugin; of a plugin with one command alone the name is empty."""

    name: str
    meaning: str
    options: tuple[Option, ...]


_LIVE_BY_NAME = {"--context": Live.CONTEXT, "--cluster": Live.CLUSTER, "--user": Live.USER}
_LIVE_BY_METAVAR = {"NAMESPACE": Live.NAMESPACE, "REVISION": Live.REVISION, "[POD": Live.PROXY}
_FILES = frozenset({"FILE", "PATH"})


def vocabulary(app: str) -> tuple[Verb, ...]:
    """Read the commands of a Typer, or take what was read when the single file was built: that needs no typer."""
    if getattr(sys, "frozen", False):
        frozen: tuple[Verb, ...] = import_module("frozen_vocabulary").VERBS
        return frozen
    return read_vocabulary(app)


def read_vocabulary(app: str) -> tuple[Verb, ...]:
    root, verbs = import_module("meshtrust.cli").commands_of(import_module(app).app)
    if not verbs:
        return (_verb("", root),)
    return tuple(_verb(name, command) for name, command in verbs.items())


def _verb(name: str, command: Any) -> Verb:
    options = tuple(_option(parameter) for parameter in command.params if not getattr(parameter, "hidden", False))
    help_itself = Option(("--help", "-h"), "Show this message and exit.", takes=False)
    return Verb(name, (command.help or "").partition("\n\n")[0], (*options, help_itself))


def _option(parameter: Any) -> Option:
    names = tuple(sorted((name for name in parameter.opts if name.startswith("-")), key=len, reverse=True))
    metavar = (parameter.metavar or "").partition("[.")[0]
    annotation: Any = parameter.type_descriptor.annotation
    of_few = isinstance(annotation, type) and issubclass(annotation, Enum)
    return Option(
        names,
        parameter.help or "",
        takes=not getattr(parameter, "is_flag", False),
        repeats=bool(getattr(parameter, "multiple", False)),
        file=metavar in _FILES,
        choices=tuple(str(choice.value) for choice in annotation) if of_few else (),
        live=next(
            (str(_LIVE_BY_NAME[name]) for name in names if name in _LIVE_BY_NAME),
            str(_LIVE_BY_METAVAR.get(metavar, "")),
        ),
    )

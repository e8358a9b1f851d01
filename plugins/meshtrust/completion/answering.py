"""From the words that were typed to those that could come next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from meshtrust.completion.vocabulary import Live, Option, Verb
from meshtrust.spelling import canonical

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    Candidates = list[tuple[str, str]]
    Ask = Callable[[str, Sequence[str]], Iterable[str]]

__all__ = ["Live", "candidates"]

_SHELLS = ("bash", "zsh", "fish")
_COMPLETION = ("completion", "Print a script that completes this command in a shell without kubectl's completion.")


@dataclass(slots=True)
class _Typed:
    """What is known after the words before the unfinished one."""

    verb: Verb | None = None
    given: frozenset[Option] = frozenset()
    pending: Option | None = None  # whose value comes next
    ended: bool = False  # by --
    operands: tuple[str, ...] = ()


def candidates(verbs: Sequence[Verb], words: Sequence[str], ask: Ask) -> Candidates | None:
    """Give each word that could stand there, and its meaning; None where it is a file's name.

    `ask` is given the kind of live values that are wanted, and the words before, less an option without its value.
    """
    *before, last = words or [""]
    typed = _read(verbs, before)
    options = _options(typed.verb, verbs)
    if typed.pending:
        return _values(typed.pending, last, before[:-1], ask)
    if typed.ended or not last.startswith("-"):
        return _operands(verbs, typed, last, before, ask)
    name, equals, value = last.partition("=")
    if not equals:
        return _names(options, typed, last)
    option = _find(options, name)
    return _values(option, value, before, ask) if option else []


def _read(verbs: Sequence[Verb], before: Sequence[str]) -> _Typed:
    typed = _Typed(verb=verbs[0] if not verbs[0].name else None)
    for word in before:
        options = _options(typed.verb, verbs)
        if typed.pending:
            typed.pending = None
        elif typed.ended or not word.startswith("-") or word == "-":
            _take_operand(typed, verbs, word)
        elif word == "--":
            typed.ended = True
        elif word.startswith("--"):
            name, equals, _ = word.partition("=")
            _take_option(typed, _find(options, name), pending=not equals)
        else:
            _take_letters(typed, options, word[1:])
    return typed


def _take_operand(typed: _Typed, verbs: Sequence[Verb], word: str) -> None:
    chosen = next((verb for verb in verbs if verb.name and verb.name == word), None)
    if chosen and not typed.verb and not typed.operands:
        typed.verb = chosen
    else:
        typed.operands += (word,)


def _take_option(typed: _Typed, option: Option | None, *, pending: bool) -> None:
    if option:
        typed.given |= {option}
        typed.pending = option if pending and option.takes else None


def _take_letters(typed: _Typed, options: Sequence[Option], letters: str) -> None:
    """Read `-qo` and `-ojson`: what follows the letter of an option that takes a value is that value."""
    for place, letter in enumerate(letters, 1):
        option = _find(options, f"-{letter}")
        _take_option(typed, option, pending=place == len(letters))
        if option is None or option.takes:
            return


def _options(verb: Verb | None, verbs: Sequence[Verb]) -> tuple[Option, ...]:
    """Give those of the verb; before it is typed, those that every verb has."""
    if verb:
        return verb.options
    return tuple(option for option in verbs[0].options if all(option in other.options for other in verbs))


def _find(options: Iterable[Option], name: str) -> Option | None:
    wanted = canonical(name)
    return next((option for option in options if wanted in option.names), None)


def _names(options: Iterable[Option], typed: _Typed, last: str) -> Candidates:
    return [
        (name, option.meaning)
        for option in options
        if option.repeats or option not in typed.given
        for name in option.names
        if name.startswith(last)
    ]


def _values(option: Option, last: str, before: Sequence[str], ask: Ask) -> Candidates | None:
    if option.file:
        return None
    values: Iterable[str] = option.choices if option.takes else ("true", "false")
    if option.live:
        values = ask(option.live, before)
    return [(value, "") for value in values if value.startswith(last)]


def _operands(verbs: Sequence[Verb], typed: _Typed, last: str, before: Sequence[str], ask: Ask) -> Candidates | None:
    if typed.operands == ("completion",) and not (typed.verb and typed.verb.name):
        return [(shell, "") for shell in _SHELLS if shell.startswith(last)]
    if typed.verb is None:
        known = [*((verb.name, verb.meaning) for verb in verbs), _COMPLETION]
        return [(name, meaning) for name, meaning in known if name.startswith(last) and not typed.operands]
    operand = next((option for option in typed.verb.options if not option.names), None)
    return _values(operand, last, before, ask) if operand else []

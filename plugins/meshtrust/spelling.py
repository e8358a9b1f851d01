"""kubectl's spellings of a command line, turned into the one spelling that the option parser reads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from meshtrust.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

_TRUE, _FALSE = frozenset({"1", "t", "true"}), frozenset({"0", "f", "false"})  # pflag's booleans, in any case
_ALIASES = {"--istioNamespace": "--istio-namespace"}  # istioctl's spelling


class Parameter(Protocol):
    """What is read of an option of the parser: its spellings, and `is_flag` where it takes no value."""

    opts: list[str]


def kubectl_spelling(verbs: Iterable[str], parameters: Iterable[Parameter], words: Sequence[str]) -> list[str]:
    """Bring options behind the verb, `-o=json` to `-o json`, `--flag=false` to no flag, `as_group` to `as-group`.

    Options may stand before or after the verb; `--` ends them. What is not known is left to the parser to refuse.
    """
    flags: dict[str, tuple[str, ...]] = {"--help": ("--help", "-h"), "-h": ("--help", "-h")}
    for parameter in parameters:
        spellings = tuple(parameter.opts) if getattr(parameter, "is_flag", False) else ()
        flags |= dict.fromkeys(parameter.opts, spellings)
    split = list(words).index("--") if "--" in words else len(words)
    options, operands = _sort(iter(words[:split]), flags)
    operands += words[split + 1 :]
    verb = operands[:1] if operands and operands[0] in verbs else []
    rest = operands[len(verb) :]
    return [*verb, *options, *(["--", *rest] if rest else [])]


def canonical(name: str) -> str:
    """The spelling of an option's name that the parser knows."""
    return _ALIASES.get(name, name.replace("_", "-"))


# `flags` below knows every option by each spelling: all the spellings of a flag, none of an option with a value.


def _sort(words: Iterator[str], flags: Mapping[str, tuple[str, ...]]) -> tuple[list[str], list[str]]:
    options: list[str] = []
    operands: list[str] = []
    for word in words:
        if word.startswith("--"):
            _long(word, words, flags, options)
        elif word.startswith("-") and word != "-":
            _short(word, words, flags, options)
        else:
            operands.append(word)
    return options, operands


def _long(word: str, words: Iterator[str], flags: Mapping[str, tuple[str, ...]], options: list[str]) -> None:
    given, equals, value = word.partition("=")
    name = canonical(given)
    if flags.get(name):
        _switch(name, value.lower() if equals else "true", flags, options)
    elif name in flags:
        options += [name, value] if equals else [name, *_next(words)]
    else:
        options.append(word)


def _short(word: str, words: Iterator[str], flags: Mapping[str, tuple[str, ...]], options: list[str]) -> None:
    name, rest = word[:2], word[2:]
    if flags.get(name):
        if rest.startswith("="):
            _switch(name, rest[1:].lower(), flags, options)
        else:
            options.append(name)
            if rest:
                _short(f"-{rest}", words, flags, options)
    elif name in flags:
        options += [name, rest.removeprefix("=")] if rest else [name, *_next(words)]
    else:
        options.append(word)


def _switch(name: str, value: str, flags: Mapping[str, tuple[str, ...]], options: list[str]) -> None:
    """Give a flag its last word: what was said of it before, in whatever spelling, is taken back."""
    opposite = f"--no-{name.removeprefix('--')}"
    options[:] = [option for option in options if option not in {*flags[name], opposite}]
    if value in _TRUE:
        options.append(name)
    elif value not in _FALSE:
        raise UsageError(f"{name}={value}: {value!r} is neither true nor false")
    elif opposite in flags:
        options.append(opposite)


def _next(words: Iterator[str]) -> list[str]:
    return [word for word in (next(words, None),) if word is not None]

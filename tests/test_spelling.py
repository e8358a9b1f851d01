"""The spellings that kubectl takes, all of them the same to the parser."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from meshtrust.errors import UsageError
from meshtrust.spelling import kubectl_spelling


@dataclass(frozen=True, slots=True)
class Known:
    """An option of a parser."""

    opts: list[str]
    is_flag: bool = False


PARAMETERS = [
    Known(["-o", "--output"]),
    Known(["-n", "--namespace"]),
    Known(["-f", "--filename"]),
    Known(["--as-group"]),
    Known(["-i", "--istio-namespace"]),
    Known(["-A", "--all-namespaces"], is_flag=True),
    Known(["-q", "--quiet"], is_flag=True),
    Known(["--insecure-skip-tls-verify"], is_flag=True),
    Known(["--no-insecure-skip-tls-verify"], is_flag=True),
]


def spelled(line: str) -> list[str]:
    return kubectl_spelling({"expiry": None}, PARAMETERS, line.split())


@pytest.mark.parametrize("output", ["-o json", "-ojson", "-o=json", "--output json", "--output=json"])
@pytest.mark.parametrize("where", ["{} expiry", "expiry {}"])
def test_a_value_is_read_in_each_spelling_on_both_sides_of_the_verb(output: str, where: str) -> None:
    verb, name, value = spelled(where.format(output))
    assert (verb, name in {"-o", "--output"}, value) == ("expiry", True, "json")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("-n expiry expiry", ["expiry", "-n", "expiry"]),
        ("-Aq expiry", ["expiry", "-A", "-q"]),
        ("-Aojson expiry", ["expiry", "-A", "-o", "json"]),
        ("expiry -A=false", ["expiry"]),
        ("expiry -q --quiet=false", ["expiry"]),
        ("expiry --quiet --quiet=false", ["expiry"]),
        ("expiry --quiet=false --quiet", ["expiry", "--quiet"]),
        ("expiry --quiet=T", ["expiry", "--quiet"]),
        ("expiry --insecure-skip-tls-verify=false", ["expiry", "--no-insecure-skip-tls-verify"]),
        ("expiry --istioNamespace x", ["expiry", "--istio-namespace", "x"]),
        ("expiry --as_group=a", ["expiry", "--as-group", "a"]),
        ("expiry -f - -f x", ["expiry", "-f", "-", "-f", "x"]),
        ("expiry -- -n x", ["expiry", "--", "-n", "x"]),
        ("expiry --bogus -z", ["expiry", "--bogus", "-z"]),
        ("bogus -o json", ["-o", "json", "--", "bogus"]),
        ("expiry -o", ["expiry", "-o"]),
        ("-h", ["-h"]),
        ("", []),
    ],
)
def test_each_line_becomes_what_the_parser_reads(line: str, words: list[str]) -> None:
    assert spelled(line) == words


def test_a_flag_that_is_neither_true_nor_false_is_refused() -> None:
    with pytest.raises(UsageError, match="neither true nor false"):
        spelled("expiry --quiet=maybe")

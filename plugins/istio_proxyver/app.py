"""kubectl istio-proxyver: its one command and what it can be told."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from istio_proxyver.support import KNOWN_ON
from meshtrust.cli import HELP_NAMES, Judge, command
from meshtrust.errors import UsageError
from meshtrust.selectors import parse_selector
from meshtrust.versions import parse_version

if TYPE_CHECKING:
    from meshtrust.reading import Reading
    from meshtrust.report import Report
    from meshtrust.versions import IstioVersion

app = typer.Typer(
    name="istio-proxyver",
    help="Which proxies run which version, and which of them cannot take a new root.",
    context_settings=HELP_NAMES,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


class By(StrEnum):
    """What the lines of the summary stand for, beside version and kind."""

    VERSION = "version"
    NAMESPACE = "namespace"
    OWNER = "owner"


@command(
    app,
    "versions",
    examples="""\
  kubectl istio-proxyver
  kubectl istio-proxyver --outdated-than 1.29 --by owner
  kubectl istio-proxyver -n bank -l app=ledger -o wide
  kubectl istio-proxyver -o json | jq '.rows[] | select(.level != "ok")'
  kubectl istio-proxyver -f bug-report.tar.gz
""",
)
def versions(
    outdated_than: Annotated[
        str, typer.Option(help="Warn of everything older than this release.", metavar="VERSION")
    ] = "",
    by: Annotated[By, typer.Option(help="Count by version (default), namespace or owner.")] = By.VERSION,
    support_table: Annotated[
        str,
        typer.Option(
            help=f"Ends of life to show instead of those known on {KNOWN_ON}: JSON as endoflife.date has it.",
            metavar="FILE",
        ),
    ] = "",
    selector: Annotated[
        str,
        typer.Option("-l", "--selector", help="Only pods with these labels, as kubectl takes them.", metavar="LABELS"),
    ] = "",
) -> Judge:
    """Find every proxy in the pods, its version, its owner, and what that means for the mesh's root."""
    parse_selector(selector)
    least = _release(outdated_than) if outdated_than else None

    def judge(reading: Reading) -> Report:
        from istio_proxyver.inventory import report  # noqa: PLC0415 - --help does not pay for it
        from istio_proxyver.support import read_support  # noqa: PLC0415 - as above

        return report(reading, selector, least, by.value, read_support(support_table))

    return judge


def _release(text: str) -> IstioVersion:
    if release := parse_version(text):
        return release
    raise UsageError(f"--outdated-than {text!r} is no release of Istio", "write 1.29 or 1.29.2")

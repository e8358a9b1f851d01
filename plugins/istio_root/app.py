"""kubectl istio-root: its commands and what each can be told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from meshtrust.cli import HELP_NAMES, Judge, command, threshold
from meshtrust.findings import Terms

if TYPE_CHECKING:
    from meshtrust.reading import Reading
    from meshtrust.report import Report

app = typer.Typer(
    name="istio-root",
    help="Which CA signs in this Istio mesh, and until when.",
    context_settings=HELP_NAMES,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


@app.callback()
def root() -> None:
    """Which CA signs in this Istio mesh, and until when."""


@command(
    app,
    "expiry",
    examples="""\
  kubectl istio-root expiry
  kubectl istio-root expiry --warn 90d --crit 30d -o json
  kubectl istio-root expiry --public -q || page-somebody
  kubectl istio-root expiry -f bug-report.tar.gz -f secrets.yaml
""",
)
def expiry(
    warn: Annotated[
        str, typer.Option(help="Warn below this: a time, a share of its life, or the shorter of both.", metavar="LIMIT")
    ] = "60d,20%",
    crit: Annotated[str, typer.Option(help="Critical below this.", metavar="LIMIT")] = "14d,5%",
) -> Judge:
    """Find the CA that signs, and every certificate that can stop the mesh, the soonest end first."""
    limits = threshold(warn), threshold(crit)

    def judge(reading: Reading) -> Report:
        from istio_root.expiry import report  # noqa: PLC0415 - --help does not pay for it

        return report(reading.source, reading.scope, Terms(reading.now, *limits), reading.remarks)

    return judge

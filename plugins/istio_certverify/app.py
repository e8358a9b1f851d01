"""kubectl istio-certverify: its one command and what it can be told."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from meshtrust.cli import HELP_NAMES, Judge, command, seconds
from meshtrust.errors import ToolError, UsageError
from meshtrust.selectors import parse_selector

if TYPE_CHECKING:
    from meshtrust.reading import Reading
    from meshtrust.report import Report
    from meshtrust.verification.verifying import Wish

_MOST = 512  # proxies at a time: more connections than an API server gives one client gladly

app = typer.Typer(
    name="istio-certverify",
    help="Does every stored copy and every running proxy trust the root that signs now.",
    context_settings=HELP_NAMES,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


@command(
    app,
    "verify",
    examples="""\
  kubectl istio-certverify
  kubectl istio-certverify --stored
  kubectl istio-certverify deploy/ledger web-7d9c-x2x4z.shop
  kubectl istio-certverify --live -n bank -l app=ledger -o wide
  kubectl istio-certverify --wait --timeout 15m
  kubectl istio-certverify --record mesh.yaml; kubectl istio-certverify -f mesh.yaml
""",
)
def verb(
    targets: Annotated[
        list[str] | None,
        typer.Argument(
            help="Only these proxies: a pod (POD, POD.NAMESPACE) or what makes pods (deploy/NAME).",
            metavar="[POD[.NAMESPACE] | TYPE/NAME]...",
            show_default=False,
        ),
    ] = None,
    stored: Annotated[bool, typer.Option("--stored", help="Only what is stored.", show_default=False)] = False,
    live: Annotated[bool, typer.Option("--live", help="Only what running proxies hold.", show_default=False)] = False,
    wait: Annotated[
        bool, typer.Option("--wait", help="Look again until every proxy has moved that can.", show_default=False)
    ] = False,
    timeout: Annotated[
        str,
        typer.Option(
            help="How long all of it may take; default: no limit, with --wait when the last proxy should have moved.",
            metavar="DURATION",
            show_default=False,
        ),
    ] = "",
    concurrency: Annotated[
        str, typer.Option(help="How many proxies are asked at a time.", metavar="NUMBER", show_default=False)
    ] = "32",
    selector: Annotated[
        str,
        typer.Option(
            "-l", "--selector", help="Only proxies in pods with these labels.", metavar="LABELS", show_default=False
        ),
    ] = "",
    record: Annotated[
        str,
        typer.Option(help="Write what was read, without any private key, for -f.", metavar="FILE", show_default=False),
    ] = "",
) -> Judge:
    """Hold every stored copy of trust and every running proxy's memory against the root that signs now."""
    from meshtrust.verification.fleet import Targets  # noqa: PLC0415 - --help does not pay for it
    from meshtrust.verification.verifying import Wish  # noqa: PLC0415 - as above

    parse_selector(selector)
    _expect_writable(record)
    chosen = Targets.read(targets or ())
    narrowed = bool(chosen or selector)
    wish = Wish(
        stored=stored or not (live or narrowed),
        live=live or narrowed or not stored,
        targets=chosen,
        selector=selector,
        concurrency=_number(concurrency),
        timeout=seconds("--timeout", timeout) if timeout else None,
        wait=wait,
    )
    typed = narrowed or stored or live

    def judge(reading: Reading) -> Report:
        known, same = _recalled(reading, wish, typed=typed)
        return _recorded(known, same, record) if record else _judged(known, same)

    return judge


def _recalled(reading: Reading, wish: Wish, *, typed: bool) -> tuple[Reading, Wish]:
    """A recording of a narrowed run is judged as that was, unless something else is asked of it."""
    if not reading.source.wished:
        return reading, wish
    from istio_certverify.recalling import recalled  # noqa: PLC0415 - of few recordings

    return recalled(reading, wish, typed=typed)


def _judged(reading: Reading, wish: Wish) -> Report:
    from istio_certverify.saying import say  # noqa: PLC0415 - --help does not pay for it
    from meshtrust.verification.verifying import verify  # noqa: PLC0415 - as above

    return say(verify(reading, wish))


def _recorded(reading: Reading, wish: Wish, file: str) -> Report:
    """Judge, and write down what was read for it."""
    from istio_certverify.recalling import written  # noqa: PLC0415 - few record
    from meshtrust.manifests.recorder import Recorder  # noqa: PLC0415 - as above

    recorder = Recorder(reading.source)
    found = _judged(replace(reading, source=recorder), wish)
    try:
        recorder.write(file, reading.now, written(wish, reading.scope))
    except ToolError as error:
        return replace(found, unwritten=error)
    return found


def _expect_writable(record: str) -> None:
    """A path that cannot be written is told before the run, which may take hours."""
    if record:
        from meshtrust.manifests.recorder import expect_writable  # noqa: PLC0415 - few record

        expect_writable(record)


def _number(text: str) -> int:
    number = int(text) if text.isdecimal() else 0
    if not 1 <= number <= _MOST:
        raise UsageError(f"--concurrency {text!r} is no number from 1 to {_MOST}")
    return number

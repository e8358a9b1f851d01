"""The options that all three plugins share, and the one place where a command becomes output and an exit code."""

from __future__ import annotations

import dataclasses
import inspect
import os
import re
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer
from typer.exceptions import TyperException

from meshtrust.durations import parse_duration
from meshtrust.errors import ToolError, UsageError
from meshtrust.findings import Level, Threshold
from meshtrust.reading import Reading
from meshtrust.render import Output, printable, render, render_failure
from meshtrust.report import Report, timestamp
from meshtrust.source import Scope
from meshtrust.spelling import kubectl_spelling

if TYPE_CHECKING:
    from collections.abc import Sequence

    from meshtrust.cluster import Connection
    from meshtrust.source import Source

_EXITS = {Level.OK: 0, Level.WARNING: 1, Level.CRITICAL: 2, Level.UNKNOWN: 3}
_PERCENT = re.compile(r"(100|\d\d?(?:\.\d+)?)%")
_BLINK = 0.1  # seconds that a line of progress stays at least
INTERRUPTED = 130
HELP_NAMES = {"help_option_names": ["-h", "--help"]}
EXIT_CODES = "Exit codes: 0 ok, 1 warning, 2 critical, 3 unknown or incomplete, 64 usage, 130 interrupted."


class FailOn(StrEnum):
    """The mildest verdict that is not exit code 0."""

    WARNING = "warning"
    UNKNOWN = "unknown"
    CRITICAL = "critical"


def _option(*names: str, help: str, metavar: str | None = None, hidden: bool = False) -> Any:  # noqa: A002 - Typer's name
    return typer.Option(*names, help=help, metavar=metavar, hidden=hidden, show_default=False)


@dataclass(frozen=True, slots=True)
class Options:
    """What is typed beside a command's own options. Each is a parameter of every command."""

    filename: Annotated[
        list[str] | None,
        _option(
            "-f",
            "--filename",
            metavar="PATH",
            help="Read a recording, not a cluster: files, folders, a bug-report.tar.gz, - for stdin; may be repeated.",
        ),
    ] = None
    output: Annotated[Output, _option("-o", "--output", help="What to print: table, wide, json, yaml or name.")] = (
        Output.TABLE
    )
    no_headers: Annotated[bool, _option("--no-headers", help="Print tables without their titles.")] = False
    quiet: Annotated[bool, _option("-q", "--quiet", help="Print nothing but errors: the exit code tells.")] = False
    verbose: Annotated[
        bool, _option("-v", "--verbose", help="Say each request on stderr: verb, path, status, time.")
    ] = False
    fail_on: Annotated[
        FailOn,
        _option(
            "--fail-on", help="The mildest verdict that does not exit with 0: warning (default), unknown or critical."
        ),
    ] = FailOn.WARNING
    at: Annotated[
        str,
        _option(
            "--at",
            metavar="TIME",
            help="Judge as of a time (RFC 3339, or now); default: now, or when the recording was taken.",
        ),
    ] = ""
    public: Annotated[bool, _option("--public", help="Never ask for a Secret: judge by what everybody may see.")] = (
        False
    )
    istio_namespace: Annotated[
        str,
        _option(
            "-i",
            "--istio-namespace",
            metavar="NAMESPACE",
            help="Where the control plane stands; default: wherever its pods are.",
        ),
    ] = ""
    revision: Annotated[
        str, _option("-r", "--revision", metavar="REVISION", help="Only the control plane of this revision.")
    ] = ""
    namespace: Annotated[
        str,
        _option(
            "-n", "--namespace", metavar="NAMESPACE", help="Judge the copies of this namespace only; default: all."
        ),
    ] = ""
    all_namespaces: Annotated[
        bool, _option("-A", "--all-namespaces", help="Judge all namespaces, whatever -n says.")
    ] = False
    kubeconfig: Annotated[str, _option("--kubeconfig", metavar="FILE", help="The kubeconfig to use.")] = ""
    context: Annotated[str, _option("--context", metavar="NAME", help="The kubeconfig context to use.")] = ""
    cluster: Annotated[str, _option("--cluster", metavar="NAME", help="The kubeconfig cluster to use.")] = ""
    user: Annotated[str, _option("--user", metavar="NAME", help="The kubeconfig user to use.")] = ""
    server: Annotated[str, _option("-s", "--server", metavar="URL", help="Address of the API server.")] = ""
    token: Annotated[str, _option("--token", metavar="TOKEN", help="Bearer token for the API server.")] = (
        dataclasses.field(default="", repr=False)
    )
    as_user: Annotated[str, _option("--as", metavar="USER", help="User to impersonate.")] = ""
    as_group: Annotated[
        list[str] | None, _option("--as-group", metavar="GROUP", help="Group to impersonate; may be repeated.")
    ] = None
    as_uid: Annotated[str, _option("--as-uid", metavar="UID", help="UID to impersonate.")] = ""
    request_timeout: Annotated[
        str,
        _option(
            "--request-timeout",
            metavar="DURATION",
            help="How long one request may take (5, 5s, 1m; 0: without limit); default 10s.",
        ),
    ] = "10s"
    insecure_skip_tls_verify: Annotated[
        bool, _option("--insecure-skip-tls-verify", help="Do not check the API server's certificate.")
    ] = False
    no_insecure_skip_tls_verify: Annotated[
        bool, _option("--no-insecure-skip-tls-verify", hidden=True, help="What =false becomes.")
    ] = False
    certificate_authority: Annotated[
        str, _option("--certificate-authority", metavar="FILE", help="CA certificate of the API server.")
    ] = ""
    client_certificate: Annotated[
        str, _option("--client-certificate", metavar="FILE", help="Client certificate for TLS.")
    ] = ""
    client_key: Annotated[str, _option("--client-key", metavar="FILE", help="Client key for TLS.")] = ""
    tls_server_name: Annotated[
        str, _option("--tls-server-name", metavar="NAME", help="Name to expect in the API server's certificate.")
    ] = ""
    version: Annotated[bool, _option("--version", help="Print the version and exit.")] = False  # answered by `start`

    @property
    def scope(self) -> Scope:
        namespace = "" if self.all_namespaces else self.namespace
        return Scope(self.istio_namespace, self.revision, namespace, self.public)


Judge = Callable[[Reading], Report]  # what a command gives: it is asked when the source is open


def command(app: typer.Typer, name: str, *, examples: str) -> Callable[..., Any]:
    """Make a command of a function that takes its own options and gives a `Judge`.

    The shared options become parameters of the command beside its own.
    """

    def declare(function: Callable[..., Judge]) -> Callable[..., Any]:
        shared = [
            inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=hint)
            for field, hint in zip(
                dataclasses.fields(Options), get_type_hints(Options, include_extras=True).values(), strict=True
            )
        ]
        own = inspect.signature(function, eval_str=True).parameters.values()

        def call(**values: Any) -> int:
            options = Options(**{parameter.name: values.pop(parameter.name) for parameter in shared})
            return _execute(str(app.info.name), name, options, lambda: function(**values))

        parameters = [*own, *shared]
        call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # how Typer sees a function
        call.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        app.command(
            name,
            help=f"{inspect.getdoc(function)}\n\n\b\nExamples:\n{examples}\n\n{EXIT_CODES}",
            context_settings=HELP_NAMES,
        )(call)
        return function

    return declare


def threshold(text: str) -> Threshold:
    """Read `60d,20%`: a span, a share of the certificate's life, or both. Raises UsageError."""
    span, share = None, None
    for part in text.split(","):
        if percent := _PERCENT.fullmatch(part.strip()):
            share = float(percent[1]) / 100
        elif (parsed := parse_duration(part.strip())) is not None and parsed >= parsed * 0:
            span = parsed
        else:
            raise UsageError(f"{text!r} is no threshold", "write a time, a share or both: 60d,20%")
    return Threshold(span, share)


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


def _execute(tool: str, name: str, options: Options, prepare: Callable[[], Judge]) -> int:
    now = datetime.now(UTC)
    try:
        judge = prepare()
        given = _moment(options.at, now)
        with open_source(options) as source:
            report = judge(_reading(source, options, given or source.taken_at or now, now))
    except UsageError:
        raise
    except ToolError as error:
        _show(render_failure(tool, name, now, error, options.output), options)
        return complain(error)
    _show(render(report, options.output, headers=not options.no_headers), options)
    if report.interrupted:
        return INTERRUPTED
    return _EXITS[report.status] if report.status >= Level[options.fail_on.name] else 0


def _reading(source: Source, options: Options, moment: datetime, now: datetime) -> Reading:
    remarks: tuple[str, ...] = ()
    if moment != now:
        taken = "" if options.at else ", when the recording was taken (--at now judges by today)"
        remarks = (f"judged as of {timestamp(moment)}{taken}",)
    shown = sys.stderr.isatty() and not options.quiet and not options.verbose
    return Reading(source, options.scope, moment, remarks, *((_progress(),) if shown else ()))


def _moment(at: str, now: datetime) -> datetime | None:
    if at in {"", "now"}:
        return now if at else None
    try:
        moment = datetime.fromisoformat(at)
    except ValueError:
        raise UsageError(f"--at {at!r} is no time", "write RFC 3339, 2026-11-24T08:00:00Z, or now") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def open_source(options: Options) -> AbstractContextManager[Source]:
    """A recording where one is given, else the cluster that kubectl would ask."""
    if options.filename:
        from meshtrust.cluster import Connection  # noqa: PLC0415 - each source is imported when it is asked
        from meshtrust.manifests import Recording  # noqa: PLC0415 - as above

        if dataclasses.replace(connection_of(options), request_timeout=Connection().request_timeout) != Connection():
            raise UsageError(
                "-f reads a recording: an option that says which cluster to ask, and how, does not go with it"
            )
        return nullcontext(Recording.read(options.filename, sys.stdin.buffer))
    from meshtrust.cluster import Cluster  # noqa: PLC0415 - as above

    return Cluster(connection_of(options), _trace if options.verbose else None)


def connection_of(options: Options) -> Connection:
    """What the options of kubectl say about the way to a cluster. Raises UsageError."""
    from meshtrust.cluster import Connection  # noqa: PLC0415 - as above

    skip = True if options.insecure_skip_tls_verify else False if options.no_insecure_skip_tls_verify else None
    return Connection(
        kubeconfig=options.kubeconfig,
        context=options.context,
        cluster=options.cluster,
        user=options.user,
        server=options.server,
        token=options.token,
        as_user=options.as_user,
        as_groups=tuple(options.as_group or ()),
        as_uid=options.as_uid,
        request_timeout=_timeout(options.request_timeout),
        insecure_skip_tls_verify=skip,
        certificate_authority=options.certificate_authority,
        client_certificate=options.client_certificate,
        client_key=options.client_key,
        tls_server_name=options.tls_server_name,
    )


def _timeout(text: str) -> float | None:
    """Read a timeout as kubectl does: a bare number is seconds, and 0 is no limit."""
    span = parse_duration(f"{text}s" if text.isdecimal() else text)
    if span is None or span.total_seconds() < 0:
        raise UsageError(f"--request-timeout {text!r} is no duration", "write 5, 5s or 1m; 0 means without limit")
    return span.total_seconds() or None


def _progress() -> Callable[[str], None]:
    """A line on the terminal that the next one replaces, some ten times a second at most."""
    shown_at = [0.0]

    def show(line: str) -> None:
        if line and monotonic() - shown_at[0] < _BLINK:
            return
        shown_at[0] = monotonic() if line else 0.0
        sys.stderr.write(f"\r\x1b[K{printable(line)}")
        sys.stderr.flush()

    return show


def _trace(line: str) -> None:
    print(printable(line), file=sys.stderr)  # noqa: T201


def _show(text: str, options: Options) -> None:
    if options.quiet:
        return
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader has seen enough (`| head`): what it left unread goes nowhere, and the verdict still counts.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def complain(error: ToolError) -> int:
    """Say what went wrong and what to do, on one line, in kubectl's manner."""
    hint = f" - {error.hint}" if error.hint else ""
    print(printable(f"error: {error.message}{hint}"), file=sys.stderr)  # noqa: T201
    return error.status

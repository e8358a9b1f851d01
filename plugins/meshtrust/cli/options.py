"""The options that all three plugins share, and the source that they lead to."""

from __future__ import annotations

import dataclasses
import sys
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from meshtrust.cli.terminal import trace
from meshtrust.cli.values import seconds
from meshtrust.errors import UsageError
from meshtrust.render import Output
from meshtrust.source import Scope

if TYPE_CHECKING:
    from meshtrust.cluster import Connection
    from meshtrust.source import Source


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
            "-n", "--namespace", metavar="NAMESPACE", help="Judge this namespace only: copies, proxies; default: all."
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
        return Scope(self.istio_namespace, self.revision, namespace, self.public, self.all_namespaces)


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

    return Cluster(connection_of(options), trace if options.verbose else None)


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
        request_timeout=seconds("--request-timeout", options.request_timeout),
        insecure_skip_tls_verify=skip,
        certificate_authority=options.certificate_authority,
        client_certificate=options.client_certificate,
        client_key=options.client_key,
        tls_server_name=options.tls_server_name,
    )

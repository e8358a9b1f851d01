"""Values that only a kubeconfig, a cluster or a recording knows. Where it does not answer, there are none."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING

from meshtrust.cli import Options, connection_of, open_source, parse_options
from meshtrust.completion.vocabulary import Live
from meshtrust.errors import ToolError
from meshtrust.mesh import Look, ProxyKind, read_proxies
from meshtrust.objects import Unread

if TYPE_CHECKING:
    from collections.abc import Sequence

    from meshtrust.source import Source

_PATIENCE = "3s"  # who pressed a key does not wait longer for one answer
_SECTIONS = {Live.CONTEXT: "contexts", Live.CLUSTER: "clusters", Live.USER: "users"}


def values(wanted: Live, app: str, typed: Sequence[str]) -> list[str]:
    """Give all of them, in order, by the options that were typed so far."""
    try:
        options = replace(parse_options(import_module(app).app, typed), verbose=False)
        if not options.filename:  # a recording is not waited for
            options = replace(options, request_timeout=_PATIENCE)
        if section := _SECTIONS.get(wanted):
            from meshtrust.cluster.kubeconfig import names_in  # noqa: PLC0415 - a recording does not need it

            return sorted(names_in(section, connection_of(options)))
        with open_source(options) as source:
            return sorted(_ASKED[wanted](source, options))
    except ToolError:
        return []


def _namespaces(source: Source, _options: Options) -> set[str]:
    listed = {found.ref.name for found in source.objects("Namespace") if not isinstance(found, Unread)}
    return listed or {found.ref.namespace for found in source.objects("Pod")}


def _revisions(source: Source, options: Options) -> set[str]:
    proxies = read_proxies(Look(source), options.istio_namespace)
    return {proxy.revision for proxy in proxies if proxy.kind is ProxyKind.CONTROL_PLANE and proxy.revision}


def _proxies(source: Source, options: Options) -> set[str]:
    namespace = options.scope.namespace
    proxies = read_proxies(Look(source), namespace)
    refs = {proxy.ref for proxy in proxies if proxy.kind is not ProxyKind.CONTROL_PLANE}
    return {ref.name if namespace else f"{ref.name}.{ref.namespace}" for ref in refs}


_ASKED = {Live.NAMESPACE: _namespaces, Live.REVISION: _revisions, Live.PROXY: _proxies}

"""Questions to the admin interfaces of the proxies in `asking.MESH`, and refusals looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from asking import MESH
from meshtrust.errors import ToolError, Unreachable
from meshtrust.objects import Ref

if TYPE_CHECKING:
    from collections.abc import Callable

    from meshtrust.source import Source
    from sandbox import Server

PODS = {proxy.name: Ref("Pod", namespace, pod) for (namespace, pod), proxy in reversed(MESH.pods().items())}
LEDGER = PODS["ledger"]
SECRETS = "config_dump?mask=dynamic_active_secrets,dynamic_warming_secrets"


def asked(
    source: Source, pod: Ref = LEDGER, path: str = "certs", *, port: int = 15000, container: str = "istio-proxy"
) -> bytes:
    return source.proxy_admin(pod, path, port=port, container=container)


def refusal(ask: Callable[..., bytes], *arguments: Any, **options: Any) -> ToolError:
    with pytest.raises(ToolError) as refused:
        ask(*arguments, **options)
    assert refused.value.hint
    assert (refused.value.message + refused.value.hint).isprintable()
    return refused.value


def unreachable(ask: Callable[..., bytes], *arguments: Any, **options: Any) -> str:
    error = refusal(ask, *arguments, **options)
    assert isinstance(error, Unreachable)
    return error.message


def ways(server: Server, since: int = 0) -> list[str]:
    """Which subresources of pods were asked for, one after the other."""
    paths = (request.path for request in server.requests[since:])
    return [path.rpartition("/")[2] for path in paths if path.endswith(("/portforward", "/exec"))]

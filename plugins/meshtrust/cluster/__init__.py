"""A live cluster: the only door to the Kubernetes API, and to `kubernetes`, `urllib3` and `websocket`."""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING

from meshtrust.cluster.connection import Connection

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from datetime import datetime, timedelta
    from types import TracebackType
    from typing import Any, Self

    from meshtrust.cluster.proxies import Proxies
    from meshtrust.objects import KubeObject, Ref, Unread
    from meshtrust.source import Right

__all__ = ["Cluster", "Connection"]


class Cluster:
    """A `Living` cluster: the API server that the connection leads to. Asking it from many threads is fine."""

    recorded = False
    taken_at: datetime | None = None
    wished = ""
    unread: tuple[Unread, ...] = ()
    exposed: tuple[Ref, ...] = ()

    def __init__(self, connection: Connection, trace: Callable[[str], None] | None = None) -> None:
        """Read the kubeconfig; nothing is asked of the server yet. `trace` is told of each request in one line."""
        # Here and not above, so that --help and -f do not pay for what speaks to a server.
        from meshtrust.cluster.kubeconfig import read_context  # noqa: PLC0415
        from meshtrust.cluster.lists import Lists  # noqa: PLC0415
        from meshtrust.cluster.session import Session  # noqa: PLC0415

        context = read_context(connection)
        self.namespace = context.namespace
        self.described = context.described
        self._session = Session(context, connection.request_timeout, trace)
        self._lists = Lists(self._session)
        self._proxies: Proxies | None = None

    @property
    def clock_skew(self) -> timedelta | None:
        return self._session.clock_skew

    def objects(
        self,
        kind: str,
        *,
        namespace: str = "",
        name: str = "",
        labels: Mapping[str, str] | None = None,
        selector: str = "",
    ) -> Iterator[KubeObject | Unread]:
        terms = [*(f"{key}={value}" for key, value in (labels or {}).items()), *([selector] if selector else [])]
        return self._lists.objects(kind, namespace, name, ",".join(terms))

    def until(self, moment: float) -> Self:
        bounded = copy(self)
        bounded._lists = self._lists.until(moment)  # noqa: SLF001 - its own
        return bounded

    def holds(self, kind: str) -> bool:  # noqa: ARG002 - a live cluster can know of all
        return True

    def proxy_admin(self, pod: Ref, path: str, *, port: int, container: str) -> bytes:
        """Forward a port of the pod, or where that is forbidden let its `pilot-agent` ask.

        Messages do not name the pod. Many threads may ask at once; `close` ends what they wait for.
        """
        if self._proxies is None:
            from meshtrust.cluster.proxies import Proxies  # noqa: PLC0415 - only who asks pays for websockets

            self._proxies = Proxies(self._session)
        return self._proxies.ask(pod, path, port, container)

    def may(self, right: Right) -> bool:
        from meshtrust.cluster.rights import may  # noqa: PLC0415 - only who writes pays for it

        return may(self._session, right)

    def patch(self, ref: Ref, change: Mapping[str, Any]) -> KubeObject:
        from meshtrust.cluster.writing import patch  # noqa: PLC0415 - only who writes pays for it

        return patch(self._session, self._lists, ref, change)

    def close(self) -> None:
        self._session.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

"""The admin interfaces of proxies: by port-forward, and where that is forbidden by exec."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshtrust.errors import Unreachable

if TYPE_CHECKING:
    from meshtrust.cluster.session import Session
    from meshtrust.objects import Ref


class Proxies:
    def __init__(self, session: Session) -> None:
        self._session = session

    def ask(self, pod: Ref, path: str, port: int, container: str) -> bytes:
        raise Unreachable(f"{pod}: no way to {path} at port {port} of {container} yet")

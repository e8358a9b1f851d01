"""Faults on demand: what a request meets instead of its answer."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, NoReturn

from aiohttp import web

from sandbox.status import ApiError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from multidict import CIMultiDictProxy, MultiMapping


@dataclass(frozen=True, slots=True)
class Request:
    """A request as it arrived, for the tests to look at. `user` is who it was taken for, after impersonation."""

    method: str
    path: str
    query: MultiMapping[str]
    headers: CIMultiDictProxy[str]
    body: bytes = field(repr=False)
    user: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """A status instead of the answer; `body` replaces the `Status` object that the API server would send."""

    code: int
    message: str = ""
    retry_after: int | None = None
    body: str | None = None
    content_type: str = "application/json"


@dataclass(frozen=True, slots=True)
class Cut:
    """The answer, but the connection ends after this part of its body."""

    after: float = 0.5


@dataclass(frozen=True, slots=True)
class Reset:
    """A TCP reset before any answer."""


@dataclass(frozen=True, slots=True)
class Lost:
    """A TCP reset in the place of the answer: what was asked for is done, and the client does not learn it."""


@dataclass(frozen=True, slots=True)
class Silence:
    """No answer at all, on a connection that stays open."""


@dataclass(frozen=True, slots=True)
class Slow:
    """The answer in pieces of so many bytes, with a pause in seconds after each."""

    bytes: int = 64
    pause: float = 0.05


Fault = Answer | Cut | Lost | Reset | Silence | Slow


@dataclass(slots=True)
class Pattern:
    """Which requests are meant, and how many of them are left; None is all.

    `method`, `path` and the values of `query` are patterns as of the shell; a missing query is the empty text, so
    `query={"continue": "?*"}` is every page but the first.
    """

    method: str
    path: str
    query: Mapping[str, str]
    when: Callable[[Request], bool]
    left: int | None

    def takes(self, request: Request) -> bool:
        if self.left == 0 or not (fnmatchcase(request.method, self.method) and fnmatchcase(request.path, self.path)):
            return False
        if not all(fnmatchcase(request.query.get(key, ""), value) for key, value in self.query.items()):
            return False
        if not self.when(request):
            return False
        if self.left is not None:
            self.left -= 1
        return True


class Faults:
    """The rules of one server, the first that takes a request wins."""

    def __init__(self) -> None:
        self._rules: list[tuple[Pattern, Fault]] = []

    def add(
        self,
        fault: Fault,
        *,
        method: str = "*",
        path: str = "*",
        query: Mapping[str, str] | None = None,
        when: Callable[[Request], bool] = lambda _: True,
        times: int | None = None,
    ) -> None:
        """Let the next `times` matching requests (all, where it is None) meet a fault."""
        self._rules.append((Pattern(method, path, query or {}, when, times), fault))

    def clear(self) -> None:
        self._rules.clear()

    def of(self, request: Request) -> Fault | None:
        return next((fault for pattern, fault in self._rules if pattern.takes(request)), None)


Act = Callable[[Request], None]


class Interludes:
    """What others do in the middle of our requests: before one is answered, or after, when its answer is not sent."""

    def __init__(self) -> None:
        self._before: list[tuple[Pattern, Act]] = []
        self._after: list[tuple[Pattern, Act]] = []

    def add(self, pattern: Pattern, act: Act, *, after: bool) -> None:
        (self._after if after else self._before).append((pattern, act))

    async def play(self, request: Request, *, after: bool = False) -> None:
        """Each in a thread of its own, for it asks this server too; the request waits for it."""
        for pattern, act in tuple(self._after if after else self._before):
            if pattern.takes(request):
                await asyncio.to_thread(act, request)


def refusal(answer: Answer, headers: Mapping[str, str]) -> web.Response:
    more = {} if answer.retry_after is None else {"Retry-After": str(answer.retry_after)}
    body = ApiError(answer.code, answer.message).text if answer.body is None else answer.body.encode()
    return web.Response(status=answer.code, body=body, content_type=answer.content_type, headers={**headers, **more})


async def spoiled(
    fault: Cut | Slow, whole: web.Response, raw: web.BaseRequest, closing: asyncio.Event
) -> web.StreamResponse:
    """Send an answer the bad way."""
    body = whole.body if isinstance(whole.body, bytes) else b""
    response = web.StreamResponse(status=whole.status, headers=whole.headers)
    response.content_length = len(body)
    await response.prepare(raw)
    if isinstance(fault, Cut):
        await response.write(body[: int(len(body) * fault.after)])
        if raw.transport is not None:
            raw.transport.close()
        raise asyncio.CancelledError
    for begin in range(0, len(body), fault.bytes):
        await response.write(body[begin : begin + fault.bytes])
        try:
            await asyncio.wait_for(closing.wait(), fault.pause)
        except TimeoutError:
            continue
        raise asyncio.CancelledError
    await response.write_eof()
    return response


def reset(raw: web.BaseRequest) -> NoReturn:
    """End the connection with an RST: a socket that does not linger is closed that way.

    Here as in `spoiled`, a request without a (whole) answer ends as if it were cancelled: aiohttp is quiet about that.
    """
    if raw.transport is not None:
        plain = raw.transport.get_extra_info("socket")
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raw.transport.abort()
    raise asyncio.CancelledError


def as_json(body: object) -> bytes:
    return json.dumps(body, separators=(",", ":")).encode()

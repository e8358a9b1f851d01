"""Requests to one API server: who asks, for how long, how often, and what is remembered of the answers."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from itertools import count
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from meshtrust.cluster.failures import is_absent, is_broken, not_answered, not_reached, too_late
from meshtrust.cluster.login import log_in
from meshtrust.cluster.official import urllib3
from meshtrust.cluster.pool import close_pool
from meshtrust.errors import Unreachable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from meshtrust.cluster.context import Context
    from meshtrust.cluster.login import Login
    from meshtrust.cluster.question import Question

_PAUSES = (0.1, 0.5)  # seconds before a second and a third try
_POLITE_TRIES = 5  # where the server says itself how long to wait
_PATIENCE = 30  # seconds; a longer Retry-After is a refusal

_FAILING = {
    HTTPStatus.INTERNAL_SERVER_ERROR,
    HTTPStatus.BAD_GATEWAY,
    HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT,
}
_ANSWERS = {HTTPStatus.OK, HTTPStatus.NOT_FOUND, HTTPStatus.GONE}


@dataclass(frozen=True, slots=True)
class Request:
    """What is sent beside the headers of the login."""

    path: str
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Answer:
    """Of `ask` only OK, NOT_FOUND or GONE; everything else was raised."""

    status: int
    content_type: str
    body: bytes = field(repr=False)
    retry_after: str = ""


@dataclass(slots=True)
class Line:
    """What `-v` says of one request, as it comes to be known."""

    status: str = "-"


class Begun:
    """A request on its way, while something else is done: the server works while we read what it said before.

    A thread waits until the answer begins, and no longer: two that compute hinder each other.
    """

    def __init__(self, session: Session, request: Request, until: float | None) -> None:
        self._session, self._request, self._until = session, request, until
        self._waited = 0.0
        self._response: urllib3.BaseHTTPResponse | None = None
        self._error: Exception | None = None
        self._thread = Thread(target=self._open, daemon=True)  # nobody waits for it who does not want the answer
        self._thread.start()

    def _open(self) -> None:
        begin, session = time.monotonic(), self._session
        try:
            self._response = session.open(session.logged_in(), self._request, session.patience(self._until))
        except Exception as error:  # noqa: BLE001 - whatever it is, it is raised where the answer is wanted
            self._error = error
        self._waited = time.monotonic() - begin

    def whole(self) -> Answer | None:
        """The answer; None where its rest did not come in time: it may be ours that has gone by."""
        self._thread.join()
        with self._session.told(self._request, self._waited) as line:
            if self._response is None:
                raise self._error or RuntimeError("no answer")
            line.status = str(self._response.status)
            try:
                return whole(self._response)
            except urllib3.exceptions.TimeoutError:
                return None


class Session:
    """Many threads may ask at once."""

    def __init__(self, context: Context, timeout: float | None, trace: Callable[[str], None] | None) -> None:
        self.context = context
        self.timeout = timeout
        self.clock_skew: timedelta | None = None
        self._trace = trace or (lambda _line: None)
        self._login: Login | None = None
        self._lock = Lock()
        self._over = Event()

    def begin(self, question: Question, until: float | None = None) -> Begun:
        """Send a question, and go on: `ask` takes the answer in."""
        return Begun(self, Request(question.path), until)

    def ask(self, question: Question, begun: Begun | None = None, until: float | None = None) -> Answer:
        """Raises `Unreachable` where there is no answer by `until`, a moment of `time.monotonic`."""
        request, early = Request(question.path), [begun] if begun else []

        def attempt(login: Login) -> Answer:
            if early and (answer := early.pop().whole()):
                return answer
            return self.answer(login, request, until)

        try:
            answer = self.insist(attempt, until)
        except Unreachable as error:
            if until is None or time.monotonic() < until:
                raise
            raise too_late(question) from error
        if answer.status not in _ANSWERS:
            raise not_answered(answer.status, answer.body, question, self.context)
        return answer

    def insist(self, attempt: Callable[[Login], Answer], until: float | None = None, *, once: bool = False) -> Answer:
        """Try again what broke off or was put off, while there is time: `until` is a moment of `time.monotonic`.

        What must not be done twice (`once`) is tried again only where it certainly was not begun.
        """
        passing = is_absent if once else is_broken
        for tries in count():
            login = self.logged_in()
            try:
                answer = attempt(login)
            except urllib3.exceptions.HTTPError as error:
                pause = _PAUSES[tries] if passing(error) and tries < len(_PAUSES) else None
                if pause is None or not self._has_waited(pause, until):
                    raise not_reached(error, login, self.timeout) from error
            else:
                pause = _pause(answer, tries, once=once)
                if pause is None or not self._has_waited(pause, until):
                    break
        return answer

    def patience(self, until: float | None) -> float | None:
        """How many seconds a request may take that begins now. Raises `Unreachable` where none are left."""
        if until is None:
            return self.timeout
        left = until - time.monotonic()
        if left <= 0:
            raise Unreachable("time is up")
        return min(left, self.timeout or left)

    def answer(self, login: Login, request: Request, until: float | None = None) -> Answer:
        """Send a request once, and read the whole answer, whatever it is."""
        patience = self.patience(until)
        with self.told(request) as line:
            response = self.open(login, request, patience)
            line.status = str(response.status)
            return whole(response)

    def open(self, login: Login, request: Request, timeout: float | None) -> urllib3.BaseHTTPResponse:
        """Send a request: what comes after the headers of the answer is not read yet."""
        begin = datetime.now(UTC)
        sent = login.headers()
        sent.update(request.headers)
        # A proxy that forwards plain http is told the whole URL.
        forwarded = login.pool.proxy and not self.context.secure
        response = login.pool.urlopen(
            request.method,
            (self.context.server if forwarded else self._prefix) + request.path,
            body=request.body,
            headers=sent,
            retries=False,
            redirect=False,
            assert_same_host=False,
            timeout=urllib3.Timeout(total=timeout) if timeout else None,
            preload_content=False,
        )
        if self.clock_skew is None:
            self.clock_skew = _skew(response.headers.get("date", ""), begin, datetime.now(UTC))
        return response

    @contextmanager
    def told(self, request: Request, waited: float = 0) -> Iterator[Line]:
        """Say one line of a request when it is over, however it ends; `waited` are seconds before."""
        begin, line = time.monotonic() - waited, Line()
        try:
            yield line
        finally:
            took = (time.monotonic() - begin) * 1000
            self._trace(f"{request.method} {self._prefix}{request.path} {line.status} {took:.0f} ms")

    def close(self) -> None:
        """End all, also what other threads are asking: they get `Unreachable`, and no login any more."""
        self._over.set()
        with self._lock:
            if self._login:
                close_pool(self._login.pool)
                self._login = None

    @property
    def _prefix(self) -> str:
        return urlsplit(self.context.server).path

    def logged_in(self) -> Login:
        with self._lock:  # so that a plugin that opens a browser is run once
            if self._over.is_set():
                raise Unreachable("given up: the program ends", "what was still asked for is not known")
            if self._login is None or self._login.expired:
                self._login = log_in(self.context)
            return self._login

    def _has_waited(self, pause: float, until: float | None) -> bool:
        if until is not None and time.monotonic() + pause >= until:
            return False
        self._over.wait(pause)
        return True


def whole(response: urllib3.BaseHTTPResponse) -> Answer:
    """Read to the end, so that the connection may serve again; otherwise it must not."""
    try:
        body = response.read()
    except BaseException:
        response.close()
        raise
    headers = response.headers
    return Answer(response.status, headers.get("content-type", ""), body, headers.get("retry-after", ""))


def _skew(date: str, begin: datetime, end: datetime) -> timedelta | None:
    """Compare the server's second, taken at its middle, with the middle of the request."""
    try:
        server = parsedate_to_datetime(date)
    except ValueError:
        return None
    if server.tzinfo is None:
        return None
    return server + timedelta(seconds=0.5) - (begin + (end - begin) / 2)


def _pause(answer: Answer, tries: int, *, once: bool) -> float | None:
    """How long to wait before another try; None takes the answer as it is."""
    asked = float(answer.retry_after) if answer.retry_after.isdecimal() else None
    if asked is not None and asked > _PATIENCE:
        return None
    if once and (asked is None or answer.status != HTTPStatus.TOO_MANY_REQUESTS):
        return None
    if answer.status == HTTPStatus.TOO_MANY_REQUESTS and tries < _POLITE_TRIES:
        return 1.0 if asked is None else asked
    if answer.status in _FAILING and tries < len(_PAUSES):
        return _PAUSES[tries] if asked is None else asked
    return None

"""Requests to one API server: who asks, for how long, how often, and what is remembered of the answers."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from itertools import count
from threading import Lock
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from meshtrust.cluster.failures import is_broken, not_answered, not_reached
from meshtrust.cluster.login import log_in
from meshtrust.cluster.official import urllib3

if TYPE_CHECKING:
    from collections.abc import Callable

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
class Answer:
    """OK, NOT_FOUND or GONE; everything else was raised."""

    status: int
    content_type: str
    body: bytes = field(repr=False)
    retry_after: str = ""


class Session:
    """Many threads may ask at once."""

    def __init__(self, context: Context, timeout: float | None, trace: Callable[[str], None] | None) -> None:
        self.context = context
        self.clock_skew: timedelta | None = None
        self._timeout = timeout
        self._trace = trace or (lambda _line: None)
        self._login: Login | None = None
        self._lock = Lock()

    def ask(self, question: Question) -> Answer:
        for tries in count():
            login = self._logged_in()
            try:
                answer = self._request(login, question)
            except urllib3.exceptions.HTTPError as error:
                if not is_broken(error) or tries >= len(_PAUSES):
                    raise not_reached(error, login, self._timeout) from error
                pause: float | None = _PAUSES[tries]
            else:
                pause = _pause(answer, tries)
            if pause is None:
                break
            time.sleep(pause)
        if answer.status not in _ANSWERS:
            raise not_answered(answer.status, answer.body, question, self.context)
        return answer

    def close(self) -> None:
        with self._lock:
            if self._login:
                self._login.pool.close()
                self._login = None

    def _logged_in(self) -> Login:
        with self._lock:  # so that a plugin that opens a browser is run once
            if self._login is None or self._login.expired:
                self._login = log_in(self.context)
            return self._login

    def _request(self, login: Login, question: Question) -> Answer:
        path = urlsplit(self.context.server).path + question.path
        # A proxy that forwards plain http is told the whole URL.
        target = path if self.context.secure or not login.pool.proxy else self.context.server + question.path
        begin, status = datetime.now(UTC), "-"
        try:
            response = login.pool.urlopen(
                "GET",
                target,
                headers=login.headers(),
                retries=False,
                redirect=False,
                assert_same_host=False,
                timeout=urllib3.Timeout(total=self._timeout) if self._timeout else None,
                preload_content=False,
            )
            status = str(response.status)
            if self.clock_skew is None:
                self.clock_skew = _skew(response.headers.get("date", ""), begin, datetime.now(UTC))
            body = _whole(response)
        finally:
            taken = (datetime.now(UTC) - begin) / timedelta(milliseconds=1)
            self._trace(f"GET {path} {status} {taken:.0f} ms")
        headers = response.headers
        return Answer(response.status, headers.get("content-type", ""), body, headers.get("retry-after", ""))


def _whole(response: urllib3.BaseHTTPResponse) -> bytes:
    """Read to the end, so that the connection may serve again; otherwise it must not."""
    try:
        return response.read()
    except BaseException:
        response.close()
        raise


def _skew(date: str, begin: datetime, end: datetime) -> timedelta | None:
    """Compare the server's second, taken at its middle, with the middle of the request."""
    try:
        server = parsedate_to_datetime(date)
    except ValueError:
        return None
    if server.tzinfo is None:
        return None
    return server + timedelta(seconds=0.5) - (begin + (end - begin) / 2)


def _pause(answer: Answer, tries: int) -> float | None:
    """How long to wait before another try; None takes the answer as it is."""
    asked = float(answer.retry_after) if answer.retry_after.isdecimal() else None
    if asked is not None and asked > _PATIENCE:
        return None
    if answer.status == HTTPStatus.TOO_MANY_REQUESTS and tries < _POLITE_TRIES:
        return 1.0 if asked is None else asked
    if answer.status in _FAILING and tries < len(_PAUSES):
        return _PAUSES[tries] if asked is None else asked
    return None

"""Requests to one API server: who asks, for how long, how often, and what is remembered of the answers."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from threading import Lock
from typing import TYPE_CHECKING

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
        tries = 0
        while True:
            answer = self._try(question, last=tries >= len(_PAUSES))
            pause = _pause(answer, tries)
            if pause is None:
                break
            time.sleep(pause)
            tries += 1
        if answer is None or answer.status not in _ANSWERS:
            raise not_answered(answer.status, answer.body, question, self.context)
        return answer

    def close(self) -> None:
        with self._lock:
            if self._login:
                self._login.pool.close()
                self._login = None

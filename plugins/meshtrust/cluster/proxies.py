"""The admin interfaces of proxies, asked through the API server."""

from __future__ import annotations

import re
import time
from http import HTTPStatus
from typing import TYPE_CHECKING

from meshtrust.cluster.channels import Broken, TooLarge, channels, upgrade
from meshtrust.cluster.failures import LONGER, forbidden, not_done, not_kubernetes, status_of, within
from meshtrust.cluster.official import urllib3
from meshtrust.cluster.session import Answer, Request, whole
from meshtrust.cluster.ways import Executing, Forwarding, NoAgent
from meshtrust.errors import NotAllowed, ToolError, Unreachable

if TYPE_CHECKING:
    from meshtrust.cluster.login import Login
    from meshtrust.cluster.session import Session
    from meshtrust.cluster.ways import Way
    from meshtrust.objects import Ref


class Proxies:
    """Many threads may ask at once. `--request-timeout` is for the whole of one question."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._missing: dict[tuple[str, str], NotAllowed] = {}  # by subresource and namespace

    def ask(self, pod: Ref, path: str, port: int, container: str) -> bytes:
        timeout = self._session.timeout
        until = time.monotonic() + timeout if timeout else None
        forwarded = self._ask(Forwarding(pod, path, port, container), until)
        if isinstance(forwarded, bytes):
            return forwarded
        try:
            executed = self._ask(Executing(pod, path, port, container), until)
        except NoAgent as error:
            raise Unreachable(f"{forwarded.message}; for exec there is {error.message}", forwarded.hint) from error
        if isinstance(executed, bytes):
            return executed
        raise _neither(forwarded, executed)

    def _ask(self, way: Way, until: float | None) -> bytes | NotAllowed:
        """What is forbidden in a namespace is asked for once, not for each of its pods."""
        place = way.subresource, way.pod.namespace
        if place in self._missing:
            return self._missing[place]
        answer = self._session.insist(lambda login: self._attempt(login, way, until), until)
        if answer.status == HTTPStatus.SWITCHING_PROTOCOLS:
            return answer.body
        if answer.status == HTTPStatus.FORBIDDEN:
            told = status_of(answer.body)
            verb = way.missing_verb(told)
            error = forbidden(told, verb, way.right(verb or "get"), way.can_i(verb or "get"), self._session.context)
            if verb:
                self._missing[place] = error
            return error
        raise self._not_opened(way, answer)

    def _attempt(self, login: Login, way: Way, until: float | None) -> Answer:
        session = self._session
        accept, headers = upgrade(way.protocols)
        request = Request(way.url, headers=headers)
        with session.told(request) as line:
            try:
                response = session.open(login, request, _left(until))
                line.status = str(response.status)
                if response.status != HTTPStatus.SWITCHING_PROTOCOLS:
                    return whole(response)
                with channels(response, accept) as opened:
                    line.status += f" /{way.page}"
                    return Answer(response.status, "", way.ask(opened))
            except (TimeoutError, urllib3.exceptions.ReadTimeoutError) as error:
                hint = f"{LONGER}; if it hangs for good, its log knows more: {way.log}"
                raise Unreachable(f"no whole answer from the proxy{within(session.timeout)}", hint) from error
            except Broken as error:
                raise urllib3.exceptions.ProtocolError("Connection broken", error) from error
            except TooLarge as error:
                hint = f"is it really one? look by hand: {way.by_hand}"
                raise Unreachable("the answer of the proxy is larger than 64 MiB", hint) from error

    def _not_opened(self, way: Way, answer: Answer) -> ToolError:
        context, told = self._session.context, status_of(answer.body)
        if answer.status == HTTPStatus.NOT_FOUND and told.of("pods", way.pod.name):
            return Unreachable("the pod is not there any more", "it was deleted or replaced meanwhile: try again")
        if answer.status in {HTTPStatus.OK, HTTPStatus.NOT_FOUND} and not told.kind:
            return not_kubernetes(answer.content_type, str(way), context)
        return not_done(answer.status, told, str(way), context)


def _neither(forward: NotAllowed, execute: NotAllowed) -> NotAllowed:
    """Both refusals in one sentence, where they differ in the right alone."""
    one, other = (
        re.fullmatch(r'(.*cannot )(\w+ \S+)( in namespace "\S*")', error.message) for error in (forward, execute)
    )
    if one and other and one[1] == other[1] and one[3] == other[3]:
        return NotAllowed(f"{forward.message}, nor {other[2]}", forward.hint)
    return NotAllowed(f"{forward.message}; {execute.message}", forward.hint)


def _left(until: float | None) -> float | None:
    return max(0.001, until - time.monotonic()) if until else None

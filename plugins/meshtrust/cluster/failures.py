"""What goes wrong on the way to an API server and back, in kubectl's words."""

from __future__ import annotations

import re
import ssl
from http import HTTPStatus
from http.client import IncompleteRead
from typing import TYPE_CHECKING

import msgspec

from meshtrust.cluster.official import urllib3
from meshtrust.errors import NotAllowed, ToolError, Unreachable

if TYPE_CHECKING:
    from meshtrust.cluster.context import Context
    from meshtrust.cluster.login import Login
    from meshtrust.cluster.question import Question

_EXCEPTIONS = urllib3.exceptions

# Verification results of OpenSSL (x509_vfy.h).
_NOT_NOW = {9, 10}
_UNKNOWN_AUTHORITY = {2, 18, 19, 20, 21, 27}
_OTHER_NAME = {62, 64}

_NOT_TLS = {
    "WRONG_VERSION_NUMBER",
    "HTTP_REQUEST",
    "RECORD_LAYER_FAILURE",
    "PACKET_LENGTH_TOO_LONG",
    "UNKNOWN_PROTOCOL",
}
_USER_CANNOT = re.compile(r'User "([^"]*)" cannot (\S+) ')
_LINE = 500  # as much of a message as one reads
# A refused patch comes back with the whole object in the words of the refusal (`Invalid value: "{...}"`, patch.go of
# the API server), and a webhook may quote what it likes: no JSON, and nothing that looks like the value of a Secret.
_QUOTED = re.compile(r"\{(?:.*\}|.*)|[A-Za-z0-9+/]{40,}=*", re.DOTALL)
LONGER = "--request-timeout 60s waits longer, 0 without an end"
_CUT = {"UNEXPECTED_EOF_WHILE_READING", "EOF_OCCURRED"}


class Status(msgspec.Struct):
    """The only part of an answer that messages may quote."""

    kind: str = ""
    message: str = ""
    details: dict[str, object] | None = None

    @property
    def line(self) -> str:
        return one_line(_QUOTED.sub("…", self.message))

    def of(self, kind: str, name: str) -> bool:
        """Say whether it is about this object (kinds are in the plural here)."""
        details = self.details or {}
        return (details.get("kind"), details.get("name")) == (kind, name)

    @property
    def is_of_rights(self) -> bool:
        """Whether an authorizer speaks; admission refuses with the same status."""
        return bool(_USER_CANNOT.search(self.line))

    @property
    def is_bare(self) -> bool:
        """A refusal that says no more than what is refused."""
        return self.line.endswith(" is forbidden:")


# Made once, and here: threads that decode a type for the first time at once crash the interpreter (msgspec 0.22).
_STATUS = msgspec.json.Decoder(Status)


def one_line(text: str) -> str:
    """Short, and without control characters: it comes from somewhere else, and is printed."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= _LINE else f"{line[:_LINE]} …"


def status_of(body: bytes) -> Status:
    """Read a refusal; what is not a Status of Kubernetes has nothing to say."""
    try:
        status = _STATUS.decode(body)
    except msgspec.DecodeError:
        return Status()
    return status if status.kind == "Status" else Status()


def is_broken(error: Exception) -> bool:
    """A connection that broke off: another one may hold."""
    cause = _tls_error(error)
    if cause:
        return isinstance(cause, ssl.SSLEOFError) or cause.reason in _CUT
    return isinstance(error, _EXCEPTIONS.ProtocolError)


def is_absent(error: Exception) -> bool:
    """Nobody is there: a refused connection, a name that is not found."""
    return isinstance(error, _EXCEPTIONS.NewConnectionError)


def is_unsent(error: Exception) -> bool:
    """No connection came to be, so that nothing can have been done."""
    never = _EXCEPTIONS.NewConnectionError, _EXCEPTIONS.ConnectTimeoutError, _EXCEPTIONS.ProxyError
    return isinstance(error, never) or isinstance(_tls_error(error), ssl.SSLCertVerificationError)


def not_reached(error: Exception, login: Login, timeout: float | None) -> Unreachable:
    """Say why there was no answer, or only a part of one."""
    context = login.context
    if isinstance(error, _EXCEPTIONS.ProxyError):
        reason = error.original_error
        return Unreachable(
            f"Unable to connect to the server: proxy {_proxy(login)}: {reason_of(reason)}",
            f"look at proxy-url of {context}, and at HTTPS_PROXY and NO_PROXY",
        )
    if tls := _tls_error(error):
        message, hint = _tls_words(tls, login, timeout)
        return Unreachable(f"Unable to connect to the server: {message}", hint)
    if isinstance(error, _EXCEPTIONS.NameResolutionError):
        return Unreachable(
            f"Unable to connect to the server: lookup {context.host}: no such host",
            f"is the server of {context} right, and is the network there?",
        )
    if isinstance(error, _EXCEPTIONS.NewConnectionError):
        return _not_connected(error, context)
    if isinstance(error, _EXCEPTIONS.TimeoutError):
        return Unreachable(
            f"Unable to connect to the server: no answer from {context.address}{within(timeout)}", LONGER
        )
    return Unreachable(
        f"the connection to {context.address} broke off: {reason_of(error)}",
        "try again" if context.secure else f"the server of {context} is plain http: should it be https?",
    )


def not_answered(status: int, body: bytes, question: Question, context: Context) -> ToolError:
    """Say what an answer means that is neither the objects nor "there are none"."""
    told = status_of(body)
    if status == HTTPStatus.FORBIDDEN:
        return forbidden(told, question.verb, str(question), question.can_i, context)
    return not_done(status, told, str(question), context)


def not_done(status: int, told: Status, deed: str, context: Context) -> ToolError:
    """Say what a refusal means that is none of rights; `deed` comes after "cannot"."""
    if status == HTTPStatus.UNAUTHORIZED:
        return ToolError(
            "You must be logged in to the server (Unauthorized)",
            f"the credentials of {context.who} have expired or are not known to it: log in again",
        )
    said = f": {told.line}" if told.line else ""
    return Unreachable(
        f"cannot {deed}: {context.address} answered {phrase(status)}{said}",
        "try again; the log of the API server knows more" if told.kind else _elsewhere(context),
    )


def not_kubernetes(content_type: str, deed: Question | str, context: Context) -> Unreachable:
    kind = content_type.partition(";")[0].strip()
    kind = "other JSON" if kind == "application/json" else kind if kind and kind.isprintable() else "something else"
    return Unreachable(
        f"cannot {deed}: {context.address} answered with {kind}, not as a Kubernetes API server",
        _elsewhere(context),
    )


def too_late(question: Question) -> Unreachable:
    return Unreachable(f"cannot {question}: no answer before --timeout", "a longer --timeout gives it more time")


def within(timeout: float | None) -> str:
    return f" within {timeout:g}s" if timeout else ""


def _elsewhere(context: Context) -> str:
    return f"is the server of {context} right, or is there a proxy or a login page in between?"


def forbidden(told: Status, verb: str, right: str, can_i: str, context: Context) -> NotAllowed:
    """Name the right that is missing, and what to ask `kubectl auth can-i` for it."""
    user = _USER_CANNOT.search(told.line)
    who = f'User "{user[1]}" ' if user else ""
    # Another refusal than that of this very right (of impersonation, of a proxy) is worth its own words, if it has any.
    own = "" if told.is_bare or (user and user[2] == verb) else f": {told.line or 'no reason given'}"
    hint = f"ask for the right, and try it with: kubectl auth can-i {can_i}"
    if user and user[1] == "system:anonymous":
        hint = f"no credentials were sent: look at the user of {context}"
    return NotAllowed(f"{who}cannot {right}{own}", hint)


def _not_connected(error: Exception, context: Context) -> Unreachable:
    cause = error.__cause__
    if isinstance(cause, ConnectionRefusedError):
        return Unreachable(
            f"The connection to the server {context.address} was refused - did you specify the right host or port?",
            f"it is the server of {context}: is that cluster running?",
        )
    return Unreachable(
        f"Unable to connect to the server: {context.address}: {reason_of(cause or error)}",
        f"is the server of {context} right, and is the network there?",
    )


def _tls_error(error: Exception) -> ssl.SSLError | None:
    """Find the refusal of OpenSSL under the layers around it."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, ssl.SSLError):
            return seen
        inner = next((arg for arg in seen.args if isinstance(arg, BaseException)), None)
        seen = inner or seen.__cause__
    return None


def _tls_words(error: ssl.SSLError, login: Login, timeout: float | None) -> tuple[str, str]:
    context = login.context
    if isinstance(error, ssl.SSLCertVerificationError):
        return _verification_words(error, login, timeout)
    reason = error.reason or ""
    if reason in _NOT_TLS:
        return f"{context.address} gave an HTTP response to an HTTPS client", f"is the server of {context} right?"
    if "ALERT" in reason or "CERTIFICATE_REQUIRED" in reason:
        alert = reason.partition("ALERT_")[2].replace("_", " ").lower()
        return f"remote error: tls: {alert}", f"the server does not take the client certificate of {context.who}"
    return f"tls: {reason.replace('_', ' ').lower() or error}", f"is the server of {context} right?"


def _verification_words(error: ssl.SSLCertVerificationError, login: Login, timeout: float | None) -> tuple[str, str]:
    context, failed = login.context, "tls: failed to verify certificate: x509:"
    if error.verify_code in _OTHER_NAME:
        asked = context.cluster.get("tls-server-name") or context.host
        names = login.names(timeout)
        known = (
            f"certificate is valid for {', '.join(names)}, not {asked}" if names else f"certificate is not for {asked}"
        )
        return f"{failed} {known}", f"--tls-server-name {names[0] if names else 'NAME'} where that is the same server"
    if error.verify_code in _UNKNOWN_AUTHORITY:
        return (
            f"{failed} certificate signed by unknown authority",
            f"is the certificate-authority of {context} that of this cluster? Was the cluster made anew?",
        )
    if error.verify_code in _NOT_NOW:
        return (
            f"{failed} certificate has expired or is not yet valid",
            "compare this machine's clock; else the certificate of the API server must be renewed",
        )
    return f"{failed} {error.verify_message}", f"is the server of {context} right?"


def reason_of(error: BaseException) -> str:
    """The innermost reason, as the system words it."""
    inner = next((arg for arg in error.args if isinstance(arg, BaseException)), None) or error.__cause__
    if inner is not None:
        return reason_of(inner)
    if isinstance(error, IncompleteRead):
        return "the answer was cut short"
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return (" ".join(text.split()) or type(error).__name__).lower()


def _proxy(login: Login) -> str:
    proxy = login.pool.proxy
    return f"{proxy.host}:{proxy.port}" if proxy else ""


def phrase(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)

"""A command that is run in a container, and what it prints."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from meshtrust.cluster.channels import Channels

_OUTPUT, _ERRORS, _STATUS = 1, 2, 3
_LAST = 4096  # bytes of what it complains of: the reason stands at the end


class _Status(msgspec.Struct):
    status: str = ""
    message: str = ""


_ENDED = msgspec.json.Decoder(_Status)  # once: see failures


@dataclass(frozen=True, slots=True)
class NotRun(Exception):
    """The command failed, or could not be started: what the runtime says, and what the command said last."""

    why: str
    said: str


def run(channels: Channels) -> bytes:
    """What it prints, when it has ended well. Raises `NotRun`, and what the channels raise."""
    output: list[bytes] = []
    errors = b""
    while message := channels.receive():
        channel, content = message
        if channel == _OUTPUT:
            output.append(content)
        elif channel == _ERRORS:
            errors = (errors + content)[-_LAST:]
        elif channel == _STATUS:
            status = _status(content)
            if status.status == "Success":
                return b"".join(output)
            raise NotRun(status.message, _last_line(errors))
    raise NotRun("it ended without a word", _last_line(errors))


def _status(content: bytes) -> _Status:
    try:
        return _ENDED.decode(content)
    except msgspec.DecodeError:
        return _Status(message="it ended with something that is no Status")


def _last_line(errors: bytes) -> str:
    return next((line for line in reversed(errors.decode(errors="replace").splitlines()) if line.strip()), "")

"""What goes wrong is raised where it is known, and spoken in one place: `cli.run`."""

INTERRUPTED = 130  # the exit code of Ctrl-C, as a shell has it


class ToolError(Exception):
    """One line that says what and where, and a hint that says what to do next.

    Neither may ever hold the body of a Secret: both are printed.
    """

    status = 3  # unknown: the question could not be answered

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(ToolError):
    """The command line asks for what cannot be: nothing was read."""

    status = 64  # EX_USAGE of sysexits.h, as istioctl has it


class Unseen(ToolError):
    """One question to a source stayed without an answer; others may still have one."""


class NotAllowed(Unseen):
    """The API server answered 403: the message names verb, resource and namespace."""


class Unreachable(Unseen):
    """No answer came at all: refused, reset, cut, timed out."""


class Refused(ToolError):
    """A write that was not done, and the object is as it was: a webhook, a policy, an immutable object, no right."""

    status = 2


class Conflict(Refused):
    """Somebody else has written since it was read (409): nothing of ours is there."""

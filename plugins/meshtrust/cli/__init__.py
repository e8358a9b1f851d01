"""From a command line to output and an exit code: the same for all three plugins. The only door to `typer`."""

from meshtrust.cli.commands import HELP_NAMES, command, commands_of, parse_options, run
from meshtrust.cli.executing import Judge
from meshtrust.cli.options import Options, connection_of, open_source
from meshtrust.cli.terminal import complain
from meshtrust.cli.values import seconds, threshold

__all__ = [
    "HELP_NAMES",
    "Judge",
    "Options",
    "command",
    "commands_of",
    "complain",
    "connection_of",
    "open_source",
    "parse_options",
    "run",
    "seconds",
    "threshold",
]

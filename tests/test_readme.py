"""The README is the manual of what exists: no more, no less."""

from __future__ import annotations

import re
from pathlib import Path

from typer.main import get_command

from istio_root.app import app
from istio_root.expiry import EXPIRY_CHECKS

README = (Path(__file__).parents[1] / "README.md").read_text()


def test_every_check_stands_in_the_manual_and_no_other() -> None:
    table = README.partition("## Checks")[2].partition("\n## ")[0]
    listed = re.findall(r"^\| `([a-z-]+)` \|", table, re.MULTILINE)
    assert sorted(listed) == sorted(check.id for check in EXPIRY_CHECKS)


def test_a_check_says_one_thing_under_one_id() -> None:
    assert len({check.id for check in EXPIRY_CHECKS}) == len(EXPIRY_CHECKS)
    assert len({check.says for check in EXPIRY_CHECKS}) == len(EXPIRY_CHECKS)


def test_every_option_stands_in_the_manual() -> None:
    commands = getattr(get_command(app), "commands", {})
    options = {
        name
        for command in commands.values()
        for parameter in command.params
        for name in parameter.opts
        if name.startswith("--") and not getattr(parameter, "hidden", False)
    }
    silent = {"--verbose", "--namespace", "--all-namespaces", "--filename", "--output", "--quiet"}  # by their letter
    assert sorted(name for name in options - silent if not re.search(rf"{name}\b", README)) == []

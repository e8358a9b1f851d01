"""The README is the manual of what exists: no more, no less."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from typer.main import get_command

import istio_certverify.app
import istio_proxyver.app
import istio_root.app
from istio_proxyver.checks import CHECKS
from istio_root.expiry import EXPIRY_CHECKS
from istio_root.transition.acting import CHANGE_DONE
from istio_root.transition.preflight import PREFLIGHT, RESTORE_PREFLIGHT
from istio_root.transition.telling import ON_MESH
from meshtrust.verification.published import MESH_CHECKS
from meshtrust.verification.rules import LIVE_CHECKS, SECRET_CHECKS

if TYPE_CHECKING:
    from typer import Typer

    from meshtrust.findings import Check

README = (Path(__file__).parents[1] / "README.md").read_text()
APPS = {
    "istio-root": istio_root.app.app,
    "istio-proxyver": istio_proxyver.app.app,
    "istio-certverify": istio_certverify.app.app,
}
# What the checks of a root are asked by, and what the manual calls that.
ASKED_BY = {
    "expiry": set(EXPIRY_CHECKS),
    "transition": {*ON_MESH, *PREFLIGHT},
    "restore": {*ON_MESH, *RESTORE_PREFLIGHT},
    "--apply": {CHANGE_DONE},
}
CALLED = {"all": {"expiry", "transition", "restore"}, "changes": {"transition", "restore"}}
DECLARED: dict[str, set[Check]] = {
    "istio-root": set().union(*ASKED_BY.values()),
    "istio-proxyver": set(CHECKS),
    "istio-certverify": {*MESH_CHECKS, *LIVE_CHECKS, *SECRET_CHECKS},
}


def section(tool: str) -> str:
    return README.partition(f"\n## kubectl {tool}\n")[2].partition("\n## ")[0]


def options(app: Typer) -> set[str]:
    root = get_command(app)
    commands = getattr(root, "commands", {"": root}).values()
    parameters = [parameter for command in commands for parameter in command.params]
    shown = [parameter for parameter in parameters if not getattr(parameter, "hidden", False)]
    return {name for parameter in shown for name in parameter.opts if name.startswith("--")}


def rows_of_checks(tool: str) -> list[str]:
    tables = section(tool).partition("\n### Checks\n")[2].partition("\n### ")[0]
    return re.findall(r"^\| (`[a-z-]+` \|.*) \|$", tables, re.MULTILINE)


@pytest.mark.parametrize("tool", DECLARED)
def test_every_check_stands_in_the_manual_of_its_plugin_and_no_other(tool: str) -> None:
    listed = [row.split("`")[1] for row in rows_of_checks(tool)]
    assert sorted(listed) == sorted(check.id for check in DECLARED[tool])


def test_the_manual_says_which_verb_of_the_root_asks_a_check() -> None:
    cells = [row.split(" | ") for row in rows_of_checks("istio-root")]
    told = {first.strip("`"): CALLED.get(last := row[-1].strip("`"), {last}) for first, *row in cells}
    asked = {
        check.id: {verb for verb, checks in ASKED_BY.items() if check in checks} for check in DECLARED["istio-root"]
    }
    assert told == asked


@pytest.mark.parametrize("tool", DECLARED)
def test_a_check_says_one_thing_under_one_id(tool: str) -> None:
    checks = DECLARED[tool]
    assert len({check.id for check in checks}) == len({check.says for check in checks}) == len(checks)


@pytest.mark.parametrize("tool", APPS)
def test_every_option_stands_in_the_manual(tool: str) -> None:
    by_letter = {
        "--verbose",
        "--namespace",
        "--all-namespaces",
        "--filename",
        "--output",
        "--quiet",
        "--selector",
    }
    assert sorted(name for name in options(APPS[tool]) - by_letter if not re.search(rf"{name}\b", README)) == []


def typed() -> list[tuple[str, str]]:
    """Every command of the manual: the plugin, and what stands behind it up to the next program or comment."""
    return re.findall(r"kubectl (istio-\w+)((?: [^\s`|;&#()]+)*)", README)


@pytest.mark.parametrize("tool", APPS)
def test_every_command_of_the_manual_can_be_typed(tool: str) -> None:
    known = options(APPS[tool])
    used = {word.partition("=")[0] for plugin, words in typed() if plugin == tool for word in words.split()}
    whole = (word for word in used if not word.endswith("<TAB>"))
    assert sorted(word for word in whole if word.startswith("--") and word not in known) == []


def test_every_verb_of_the_manual_is_one() -> None:
    known = {*getattr(get_command(APPS["istio-root"]), "commands", {}), "completion"}
    used = {words.split()[0] for plugin, words in typed() if plugin == "istio-root" and words}
    assert sorted(word for word in used if not word.startswith("-") and word not in known) == []

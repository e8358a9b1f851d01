"""A krew index: a git repository that has the content of `krew/` at its root."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

from clone import ROOT, git

if TYPE_CHECKING:
    from pathlib import Path

_KREW = ROOT / "krew"
# Whoever publishes it with their own name splits the folder off (README): this one is for trying, and for mirrors.
_AUTHOR = ("-c", "user.name=build/release", "-c", "user.email=build-release@localhost", "-c", "commit.gpgsign=false")


def make_index(folder: Path) -> str:
    """Make the repository, or add a commit to one that was made so. Gives a line that says why not, or nothing."""
    if not any((_KREW / "plugins").glob("*.yaml")):
        return "krew/plugins holds no manifest: build/release VERSION writes them"
    if folder.exists() and any(folder.iterdir()) and not (folder / "plugins").is_dir():
        return f"{folder} is not empty, and is no index"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        if not (folder / ".git").exists():
            git("init", "--quiet", "--initial-branch=main", within=folder)
        shutil.rmtree(folder / "plugins", ignore_errors=True)
        shutil.copytree(_KREW, folder, dirs_exist_ok=True)
        git("add", "--all", within=folder)
        if git("status", "--porcelain", within=folder):
            git(*_AUTHOR, "commit", "--quiet", "--message=The manifests as released", within=folder)
    except subprocess.CalledProcessError as error:
        return f"git: {error.stderr.strip()}"
    return ""

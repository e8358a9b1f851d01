"""What git says of this clone: whether a release may be made from it, and where it lives on the web."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# A clone of a folder has no page: manifests then point to a name that nobody can register.
NOWHERE = "https://kubectl-istio-trust.invalid"
_VERSION = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z.-]+)?")
_ORIGIN = re.compile(
    r"(?:https://|ssh://)?(?:[^@/]+@)?(?P<host>[^:/]+\.[^:/]+)(?::\d+)?[:/]+(?P<path>[^:]+?)(?:\.git)?/?"
)


def source_version() -> str:
    """The version that the plugins of this clone print."""
    said = re.search(r'__version__ = "(.+)"', (ROOT / "plugins/meshtrust/__init__.py").read_text())
    return said[1] if said else ""


def refusal(version: str, rendered: frozenset[str]) -> str:
    """One line that says why no release can be made from this clone as it is, or nothing.

    `rendered` are the paths that a release writes itself.
    """
    if not _VERSION.fullmatch(version):
        return f"{version!r} is no version: write 1.2.3 or 1.2.3-rc.1, without a v"
    if version != source_version():
        return f"plugins/meshtrust/__init__.py says {source_version()}: set it to {version} there, and commit"
    try:
        status = git("status", "--porcelain", "--untracked-files=all", "-z")
    except (OSError, subprocess.CalledProcessError):
        return "this is no clone of a git repository: nobody could tell what the release was made from"
    if changed := [line[3:] for line in status.split("\0") if line[3:] and line[3:] not in rendered]:
        return f"the tree is dirty: commit first ({', '.join(changed[:3])}{', ...' if changed[3:] else ''})"
    if git("tag", "--list", f"v{version}"):
        return f"v{version} is a git tag already: what was published is never made anew; take the next version"
    return ""


def homepage() -> str:
    """The page of the project, from where this clone comes from; NOWHERE where that is no page."""
    try:
        origin = git("remote", "get-url", "origin").strip()
    except (OSError, subprocess.CalledProcessError):
        return NOWHERE
    found = None if origin.startswith(("/", ".", "file:")) else _ORIGIN.fullmatch(origin)
    return f"https://{found['host']}/{found['path']}" if found else NOWHERE


def git(*arguments: str, within: Path = ROOT) -> str:
    """Run git; raises CalledProcessError with what it said."""
    done = subprocess.run(["git", "-C", str(within), *arguments], capture_output=True, text=True, check=True)
    return done.stdout

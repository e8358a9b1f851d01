"""What the release scripts make: made once, and kept in pytest's cache until something changes that goes into it."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from contextlib import contextmanager
from fcntl import LOCK_EX, flock
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

import pytest

from meshtrust import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent
PLUGINS = ("istio_certverify", "istio_proxyver", "istio_root")
_SCRIPTS = "archives bill bundled clone foreseen freezing index late manifests release startup"
_INPUTS = (
    *(f"build/{script}.py" for script in _SCRIPTS.split()),
    *("build/plugins.spec", "build/notices/*", "build/requirements.lock"),
    *("plugins/**/*.py", "krew/README.md", "LICENSE", "tests/releasing.py"),
)


def built(cache: pytest.Cache) -> Path:
    """What `build/release` makes of this tree as it is."""
    folder = cache.mkdir("dist")
    with _making(folder) as made_from:
        if made_from:
            release(ROOT, "--output", str(folder))
    return folder


def released(cache: pytest.Cache) -> Path:
    """A clone in another folder in which `build/release VERSION` has run: archives are in dist, manifests in krew."""
    clone = cache.mkdir("released") / "a clone"
    with _making(clone.parent) as made_from:
        if made_from:
            shutil.rmtree(clone, ignore_errors=True)
            for path in inputs():
                target = clone / path.relative_to(ROOT)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, target)
            (clone / ".gitignore").write_text("/dist/\n__pycache__/\n")
            commit_all(clone)
            release(clone, __version__, "--max-glibc", "99.0")
    return clone


@contextmanager
def _making(folder: Path) -> Iterator[str]:
    """Say from what a folder is to be made, or nothing where it is; two that test may want it at the same time."""
    with folder.with_suffix(".lock").open("w") as lock:
        flock(lock, LOCK_EX)
        made_from = _made_from()
        stamp = folder / "made-from"
        if stamp.exists() and stamp.read_text() == made_from:
            yield ""
        else:
            yield made_from
            stamp.write_text(made_from)


def release(clone: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run it, and see it succeed."""
    done = try_to_release(clone, *arguments)
    if done.returncode == 3:  # this machine lacks something
        pytest.skip(f"THE BINARIES ARE NOT TESTED: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    return done


def try_to_release(clone: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(clone / "build/release.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def inputs() -> list[Path]:
    return [path for pattern in _INPUTS for path in sorted(ROOT.glob(pattern)) if path.is_file()]


def commit_all(clone: Path) -> None:
    if not (clone / ".git").exists():
        git(clone, "init", "--quiet", "--initial-branch=main")
    git(clone, "add", "--all")
    author = ("-c", "user.name=test", "-c", "user.email=test@localhost", "-c", "commit.gpgsign=false")
    git(clone, *author, "commit", "--quiet", "--message=as it is")


def git(clone: Path, *arguments: str) -> str:
    return subprocess.run(["git", "-C", str(clone), *arguments], capture_output=True, text=True, check=True).stdout


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve the files of a folder over plain HTTP on loopback; gives its URL."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder))) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_said: object) -> None:
        """Say nothing of each request."""


def _made_from() -> str:
    return hashlib.sha256(b"\0".join(path.read_bytes() for path in inputs()) + sys.version.encode()).hexdigest()

"""Makes the single-file plugins for the machine it runs on, the archives that people download, and what goes with them.

The same inputs give the same bits, wherever the clone lies.

  build/release                       the plugins of this tree, as it is, into dist
  build/release VERSION               a release: of a clean tree, and with krew's manifests in krew/plugins
  build/release manifests VERSION     the manifests alone, for archives of several machines in one folder
  build/release index DIR             a git repository for `kubectl krew index add`, from krew/
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from archives import archives_in, pack, write_checksums
from bill import write_bill
from bundled import Unlicensed, components, notices
from clone import NOWHERE, ROOT, homepage, refusal, source_version
from freezing import freeze, glibc, too_demanding, what_lacks
from index import make_index

import manifests

if TYPE_CHECKING:
    from collections.abc import Sequence

LACKING, REFUSED = 3, 1


def main(arguments: Sequence[str]) -> int:
    if arguments[:1] == ["index"]:
        parser = _parser("build/release index")
        parser.add_argument("folder", type=Path, metavar="DIR")
        return _say(make_index(parser.parse_args(arguments[1:]).folder.absolute()), REFUSED)
    if arguments[:1] == ["manifests"]:
        parser = _parser("build/release manifests")
        parser.add_argument("version", metavar="VERSION")
        _add_places(parser)
        return render(parser.parse_args(arguments[1:]))
    parser = _parser("build/release")
    parser.add_argument("version", nargs="?", metavar="VERSION", help="what is released, as 1.2.3; default: nothing is")
    parser.add_argument("--max-glibc", type=_version, metavar="X.Y", help="fail where a newer GLIBC would be needed")
    _add_places(parser)
    return release(parser.parse_args(arguments))


def release(options: argparse.Namespace) -> int:
    if options.version and (why := refusal(options.version, manifests.rendered_paths())):
        return _say(why, REFUSED)
    if why := what_lacks():
        return _say(why, LACKING)
    options.output.mkdir(parents=True, exist_ok=True)
    version = options.version or source_version()
    try:
        made = _make(options.output, version)
    except subprocess.CalledProcessError as error:
        sys.stderr.buffer.write(error.stdout)
        return _say("PyInstaller failed", REFUSED)
    except Unlicensed as error:
        return _say(str(error), REFUSED)
    needed = glibc(made)
    if needed:
        print(f"the plugins need GLIBC {'.'.join(map(str, needed))} or newer")
    if why := too_demanding(needed, options.max_glibc):
        return _say(why, REFUSED)
    return render(options) if options.version else 0


def _make(output: Path, version: str) -> list[Path]:
    """Make the plugins, their archives, bills and checksums; gives the plugins."""
    made = freeze(output)
    files: list[Path] = []
    for frozen in made:
        bundled = components(frozen.sources)
        papers = {"LICENSE": (ROOT / "LICENSE").read_bytes(), "NOTICES.txt": notices(bundled).encode()}
        archive = pack(frozen.file, version, papers)
        files += [archive, write_bill(archive, frozen.file, version, bundled)]
        print(f"{archive}  {archive.stat().st_size / 1e6:.1f} MB")
    write_checksums(output, files)
    return [frozen.file for frozen in made]


def render(options: argparse.Namespace) -> int:
    """Write the manifests and the checksums of all archives of a version that lie in a folder."""
    found = archives_in(options.output, options.version) if options.output.is_dir() else []
    if not found:
        return _say(f"no archive of version {options.version} is in {options.output}", REFUSED)
    page = homepage()
    base_url = options.base_url or f"{page}/releases/download/v{options.version}"
    if NOWHERE in (base_url, page) and not options.base_url:
        sys.stderr.write(f"build/release: origin is no page: the manifests point to {base_url} (--base-url)\n")
    bills = options.output.glob(f"kubectl-*_v{options.version}_*.cdx.json")
    write_checksums(options.output, [*(archive.file for archive in found), *bills])
    for manifest in manifests.render(options.output, options.version, base_url, page):
        print(manifest)
    return 0


def _parser(program: str) -> argparse.ArgumentParser:
    form = argparse.RawDescriptionHelpFormatter
    return argparse.ArgumentParser(prog=program, description=__doc__, formatter_class=form)


def _add_places(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--output", type=_folder, default=ROOT / "dist", metavar="DIR", help="default: dist")
    parser.add_argument(
        "--base-url", default="", metavar="URL", help="where the archives will lie; default: the page of the release"
    )


def _folder(text: str) -> Path:
    return Path(text).absolute()


def _version(text: str) -> tuple[int, int]:
    major, _, minor = text.partition(".")
    return int(major), int(minor)


def _say(why: str, code: int) -> int:
    """Say a line and give the code, where there is something to say."""
    if not why:
        return 0
    sys.stderr.write(f"build/release: {why}\n")
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

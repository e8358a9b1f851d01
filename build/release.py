"""Makes the single-file plugins for the machine it runs on, the archives that people download, and their checksums.

The same inputs give the same bits, wherever the clone lies.
"""

import argparse
import gzip
import hashlib
import io
import os
import platform
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

from meshtrust import __version__

ROOT = Path(__file__).resolve().parent.parent
SYSTEMS = {"Linux": "linux", "Darwin": "darwin", "Windows": "windows"}
MACHINES = {"x86_64": "amd64", "AMD64": "amd64", "aarch64": "arm64", "arm64": "arm64"}
MODIFIED = 315532800  # 1980: every file in an archive is as old as a zip file can say


def main() -> int:
    parser = argparse.ArgumentParser(prog="build/release", description=__doc__)
    parser.add_argument("--output", type=Path, default=ROOT / "dist", metavar="DIR", help="default: dist")
    output = parser.parse_args().output.absolute()
    if lacking := what_lacks():
        sys.stderr.write(f"build/release: {lacking}\n")
        return 3
    output.mkdir(parents=True, exist_ok=True)
    failed = freeze(output)
    if failed:
        return failed
    archives = [pack(output / f"kubectl-{main.parent.name}") for main in sorted(ROOT.glob("plugins/*/__main__.py"))]
    sums = [f"{hashlib.sha256(archive.read_bytes()).hexdigest()}  {archive.name}\n" for archive in archives]
    (output / "checksums.txt").write_text("".join(sums))
    for archive in archives:
        print(f"{archive}  {archive.stat().st_size / 1e6:.1f} MB")
    return 0


def what_lacks() -> str:
    """One line that says what PyInstaller would stumble over, or nothing."""
    if sys.platform == "linux":
        tools = [tool for tool in ("ldd", "objcopy", "objdump", "strip") if not shutil.which(tool)]
        if tools:
            return f"no {', '.join(tools)} here (Debian, Ubuntu: apt install binutils)"
    # Its import starts ldd, and it has no types.
    from PyInstaller.depend.bindepend import get_python_library_path  # type: ignore[import-untyped]  # noqa: PLC0415

    try:
        get_python_library_path()
    except SystemExit:
        return f"{sys.base_prefix} has no shared libpython (Debian, Ubuntu: apt install libpython3-dev)"
    return ""


def freeze(output: Path) -> int:
    work = output / ".work"
    command = [sys.executable, "-m", "PyInstaller", "--noconfirm", "--clean", "--log-level=WARN"]
    command += [f"--distpath={output}", f"--workpath={work}", str(ROOT / "build/plugins.spec")]
    settings = {
        "PYTHONHASHSEED": "0",  # what makes two builds equal
        "PYINSTALLER_CONFIG_DIR": str(work / "cache"),
        "PYINSTALLER_ZLIB_COMPRESSION_LEVEL": "0",
    }
    done = subprocess.run(
        command, env=os.environ | settings, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    if done.returncode:
        sys.stderr.buffer.write(done.stdout)
    return done.returncode


def pack(binary: Path) -> Path:
    """Put the plugin and the licence into an archive, named as krew names systems and machines."""
    here = f"{SYSTEMS[platform.system()]}_{MACHINES[platform.machine()]}"
    archive = binary.with_name(f"{binary.name}_v{__version__}_{here}.tar.gz")
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for file, mode in ((ROOT / "LICENSE", 0o644), (binary, 0o755)):
            entry = tarfile.TarInfo(file.name)
            entry.size, entry.mode, entry.mtime = file.stat().st_size, mode, MODIFIED
            with file.open("rb") as opened:
                tar.addfile(entry, opened)
    archive.write_bytes(gzip.compress(content.getvalue(), mtime=0))
    return archive


if __name__ == "__main__":
    sys.exit(main())

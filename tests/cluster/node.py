"""The first process of a ground: makes its network, starts its servers, and lives as long as all of them do.

`python -m cluster.node FOLDER PROGRAMS WHICH`, started by `ground` in namespaces of its own. With it ends all that is
in them: processes, mounts, interfaces, routes, rules.
"""

from __future__ import annotations

import os
import ssl
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

from cluster.programs import Programs
from cluster.settings import ADDRESS, ADMIN_TOKEN, API, SERVICES, servers, stores

if TYPE_CHECKING:
    from collections.abc import Sequence

# Places that containerd, CNI and kubelet write to, whatever they are told. Here all of it goes into memory.
_EMPTY = "/run"
_COVERED = ("/var/lib", "/var/log")
# What kubelet sets for the whole machine. Here it writes to copies.
_TUNABLES = (
    *("vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops"),
    *("kernel/keys/root_maxkeys", "kernel/keys/root_maxbytes"),
)
READY = "ready"
STORES = "stores"


def main(folder: Path, programs: Programs, which: str) -> None:
    os.environ["PATH"] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    _run("mount", "-t", "tmpfs", "ground", _EMPTY)
    Path(_EMPTY, "netns").mkdir()
    for place in _COVERED:
        _cover(place, Path(_EMPTY, "covers", place.replace("/", "-")))
    _cover_tunables(Path(_EMPTY, "tunables"))
    _connect()
    running = {}
    for name, command in (stores if which == STORES else servers)(programs, folder).items():
        running[_start(folder, name, command)] = name
        if name == "apiserver":
            _await_api(folder)
    running[_start(folder, "dns", (sys.executable, "-m", "cluster.dns", str(folder)))] = "dns"
    sys.stdout.write(f"{READY}\n")
    sys.stdout.flush()
    # Orphans of the whole ground end up here, too.
    while (ended := os.wait()[0]) not in running:
        pass
    sys.exit(f"{running[ended]} has ended: {folder}/{running[ended]}.log")


def _cover(place: str, cover: Path) -> None:
    """Lay a folder over another one that takes everything that is written."""
    upper, work = cover / "upper", cover / "work"
    upper.mkdir(parents=True)
    work.mkdir()
    _run("mount", "-t", "overlay", "-o", f"lowerdir={place},upperdir={upper},workdir={work}", "ground", place)


def _cover_tunables(copies: Path) -> None:
    for name in _TUNABLES:
        copy, real = copies / name, Path("/proc/sys", name)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(real.read_text())
        _run("mount", "--bind", str(copy), str(real))


def _connect() -> None:
    """Loopback and the address of the node; there is no way out.

    A cluster IP that kube-proxy has no rule for ends on loopback; with a rule it is rewritten before it gets there.
    """
    _run("ip", "link", "set", "lo", "up")
    _run("ip", "address", "add", f"{ADDRESS}/32", "dev", "lo")
    _run("ip", "route", "add", SERVICES, "dev", "lo", "src", ADDRESS)
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")


def _start(folder: Path, name: str, command: Sequence[str]) -> int:
    with (folder / f"{name}.log").open("wb") as log:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log).pid


def _await_api(folder: Path) -> None:
    context = ssl.create_default_context(cafile=str(folder / "ca.crt"))
    asked = urllib.request.Request(f"{API}/readyz", headers={"Authorization": f"Bearer {ADMIN_TOKEN}"})  # noqa: S310 - https, as written in settings
    for _ in range(600):
        try:
            with urllib.request.urlopen(asked, context=context, timeout=2):  # noqa: S310 - as above
                return
        except OSError:
            time.sleep(0.1)
    sys.exit(f"the API server does not get ready: {folder}/apiserver.log")


def _run(*command: str) -> None:
    subprocess.run(command, check=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Programs(Path(sys.argv[2])), sys.argv[3])

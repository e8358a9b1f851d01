"""What a machine needs to be a ground, and the part of it that Debian's packages bring.

`python -m cluster.machine [--install]` says what is missing and exits with 69, where the machine cannot be a ground.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

UNAVAILABLE = 69
_LEAST_GO = (1, 21)  # fetches the newer one that go.mod names
# What Debian calls them, and a file that tells whether they are there.
_PACKAGES = {
    "busybox-static": "/bin/busybox",
    "ca-certificates": "/etc/ssl/certs/ca-certificates.crt",
    "conntrack": "/usr/sbin/conntrack",
    "containerd": "/usr/bin/containerd",
    "containernetworking-plugins": "/usr/lib/cni/ptp",
    "iproute2": "/sbin/ip",
    "iptables": "/usr/sbin/xtables-nft-multi",
    "runc": "/usr/sbin/runc",
    "util-linux": "/usr/bin/unshare",
}
_NAMESPACES = ("unshare", "--fork", "--kill-child", "--pid", "--mount-proc", "--net", "--mount", "--ipc")
_APT = ("apt-get", "--option", "DPkg::Lock::Timeout=120", "--quiet", "--yes")


class Missing(Exception):
    """What a machine lacks to be a ground, and what would make it one."""


def look(*, install: bool = False) -> None:
    """See that everything is there; with `install` the packages that are missing are fetched first."""
    if sys.platform != "linux" or os.uname().machine != "x86_64":
        raise Missing("the ground is for Linux on x86_64")
    if os.geteuid():
        raise Missing("the ground needs root, for namespaces and containers")
    if _go() < _LEAST_GO:
        raise Missing(f"the ground needs Go {_LEAST_GO[0]}.{_LEAST_GO[1]} or newer on the PATH")
    if install and _absent():
        _install(_absent())
    if absent := _absent():
        raise Missing(f"the ground needs: apt-get install --no-install-recommends {' '.join(absent)}")
    _try_namespaces()


def _go() -> tuple[int, ...]:
    if not shutil.which("go"):
        return (0,)
    said = subprocess.run(["go", "env", "GOVERSION"], capture_output=True, text=True, check=False).stdout
    return tuple(int(number) for number in re.findall(r"\d+", said))


def _absent() -> list[str]:
    return [package for package, path in _PACKAGES.items() if not Path(path).exists()]


def _install(packages: list[str]) -> None:
    if not shutil.which("apt-get"):
        return  # the packages are named then, for whoever knows how to get them here
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (("update",), ("install", "--no-install-recommends", *packages)):
        done = subprocess.run([*_APT, *command], stdout=sys.stderr, check=False, env=environment)
        if done.returncode:
            raise Missing(f"apt-get {' '.join(command)} ended with {done.returncode}")


def _try_namespaces() -> None:
    """A container that is root only by name may not make them, or finds its cgroups closed."""
    tried = subprocess.run([*_NAMESPACES, "mount", "-t", "tmpfs", "none", "/run"], capture_output=True, check=False)
    if tried.returncode:
        raise Missing(f"the ground needs namespaces and mounts: {tried.stderr.decode(errors='replace').strip()}")
    tops = (Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/pids"))
    if not any(os.access(top, os.W_OK) and (top / "cgroup.procs").exists() for top in tops):
        raise Missing("the ground needs cgroups that can be written, below /sys/fs/cgroup")


def main(arguments: list[str]) -> int:
    try:
        look(install="--install" in arguments)
    except Missing as error:
        sys.stderr.write(f"cluster: {error}\n")
        return UNAVAILABLE
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

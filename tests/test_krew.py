"""The real krew, with a real kubectl: what people type from `index add` to `uninstall`."""

from __future__ import annotations

import hashlib
import importlib
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cluster.programs import cache_folder
from meshes import CASES
from meshtrust import __version__
from releasing import PLUGINS, ROOT, release, released, served
from sandbox.server import serve

if TYPE_CHECKING:
    from collections.abc import Iterator

KREW = "v0.5.0"
MODULE = Path(__file__).parent / "krew"
NAMES = tuple(plugin.replace("_", "-") for plugin in PLUGINS)
QUALIFIED = tuple(f"istio/{name}" for name in NAMES)
NEXT = "99.0.0"


@pytest.fixture(scope="session")
def programs() -> Path:
    """Give a folder with kubectl-krew and validate-krew-manifest, built once from the pinned module of krew."""
    if not shutil.which("go"):
        pytest.skip("KREW IS NOT TESTED: there is no Go here to build it with (1.25 or newer)")
    said = b"\0".join((MODULE / name).read_bytes() for name in ("go.mod", "go.sum"))
    folder = cache_folder() / f"krew-{hashlib.sha256(said).hexdigest()[:16]}"
    if not folder.is_dir():
        with tempfile.TemporaryDirectory(prefix="building-", dir=folder.parent) as part:
            build_krew(Path(part, "bin"))
            Path(part, "bin").rename(folder)
    return folder


def build_krew(folder: Path) -> None:
    folder.mkdir()
    stamp = f"-s -w -X sigs.k8s.io/krew/internal/version.gitTag={KREW}"
    packages = [f"sigs.k8s.io/krew/cmd/{name}" for name in ("krew", "validate-krew-manifest")]
    environment = os.environ | {"CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly", "GOTOOLCHAIN": "local"}
    command = ["go", "build", "-trimpath", "-ldflags", stamp, "-o", f"{folder}/", *packages]
    done = subprocess.run(command, cwd=MODULE, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (folder / "krew").rename(folder / "kubectl-krew")


@dataclass(frozen=True, slots=True)
class Published:
    """A clone in which a release was made, and the server that its archives lie on."""

    clone: Path
    url: str

    @property
    def archives(self) -> Path:
        return self.clone / "dist"

    def archive(self, plugin: str) -> Path:
        (found,) = self.archives.glob(f"kubectl-{plugin}_v{__version__}_*.tar.gz")
        return found

    def manifest(self, name: str) -> Path:
        return self.clone / f"krew/plugins/{name}.yaml"

    def publish(self, index: Path, version: str = __version__) -> None:
        """Render the manifests for this server, and commit them to the index."""
        release(self.clone, "manifests", version, "--base-url", self.url)
        release(self.clone, "index", str(index))


@pytest.fixture(scope="module")
def published(pytestconfig: pytest.Config) -> Iterator[Published]:
    clone = released(pytestconfig.cache)
    with served(clone / "dist") as url:
        yield Published(clone, url)


@pytest.fixture
def index(published: Published, tmp_path: Path) -> Path:
    folder = tmp_path / "index"
    published.publish(folder)
    return folder


class User:
    """Somebody with an empty home, kubectl and krew."""

    def __init__(self, home: Path, programs: Path) -> None:
        self.home = home
        home.mkdir()
        commands = home / "commands"
        commands.mkdir()
        (commands / "kubectl").symlink_to(Path(sys.prefix, "bin/kubectl"))
        for program in programs.iterdir():
            (commands / program.name).symlink_to(program)
        self.installed = home / ".krew/bin"
        self.environment = {
            "HOME": str(home),
            "PATH": os.pathsep.join((str(self.installed), str(commands), "/usr/local/bin:/usr/bin:/bin")),
            "KREW_NO_UPGRADE_CHECK": "1",
            "GIT_CONFIG_NOSYSTEM": "1",
            "KUBECONFIG": str(home / "no-kubeconfig"),
        }

    def types(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=self.home,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def does(self, *command: str) -> str:
        """Type it, see it succeed, and give what it said on stdout."""
        done = self.types(*command)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def krew(self, *arguments: str) -> str:
        return self.does("kubectl", "krew", *arguments)

    def links(self) -> set[str]:
        return {link.name for link in self.installed.iterdir()} if self.installed.exists() else set()


@pytest.fixture
def user(tmp_path: Path, programs: Path) -> User:
    return User(tmp_path / "home", programs)


@pytest.fixture
def with_index(user: User, index: Path) -> User:
    user.krew("index", "add", "istio", index.as_uri())
    return user


def test_the_index_is_found_searched_and_shown(with_index: User) -> None:
    assert with_index.krew("index", "list").splitlines()[1].startswith("istio ")
    found = with_index.krew("search", "istio").splitlines()[1:]
    assert sorted(line.split()[0] for line in found) == sorted(QUALIFIED)
    assert "unavailable" not in "".join(found)
    assert "Which CA signs in an Istio mesh; extend its root" in "".join(found)
    shown = with_index.krew("info", "istio/istio-root")
    assert f"VERSION: v{__version__}" in shown
    assert "kubectl_complete-istio_root" in shown


def test_all_three_are_installed_and_answer(with_index: User) -> None:
    with_index.krew("install", *QUALIFIED)
    assert with_index.links() == {f"kubectl-{plugin}" for plugin in PLUGINS}
    listed = with_index.types("kubectl", "plugin", "list")
    assert (listed.returncode, "warning" in (listed.stdout + listed.stderr).lower()) == (0, False)
    assert {f"kubectl-{plugin}" for plugin in PLUGINS} <= {Path(line).name for line in listed.stdout.splitlines()}
    for name in NAMES:
        assert with_index.does("kubectl", name, "--version") == f"{name} {__version__}\n"
    with serve(CASES["healthy-istiod"].mesh) as server:
        with_index.environment |= server.environment
        assert "checked" in with_index.does("kubectl", "istio-root", "expiry")
        assert "checked" in with_index.does("kubectl", "istio-certverify", "--stored")
    store = with_index.home / f".krew/store/istio-root/v{__version__}"
    assert {file.name for file in store.iterdir()} == {"LICENSE", "NOTICES.txt", "kubectl-istio_root"}


def test_an_installed_one_completes_through_a_second_link(with_index: User) -> None:
    with_index.krew("install", "istio/istio-root")
    (with_index.installed / "kubectl_complete-istio_root").symlink_to("kubectl-istio_root")
    assert with_index.does("kubectl", "__complete", "istio-root", "exp").splitlines()[0].split("\t")[0] == "expiry"
    assert with_index.types("kubectl", "plugin", "list").returncode == 0


def test_the_next_version_takes_the_place_of_the_one_before(
    with_index: User, published: Published, index: Path
) -> None:
    with_index.krew("install", "istio/istio-root")
    following = published.archives / published.archive("istio_root").name.replace(__version__, NEXT)
    shutil.copy(published.archive("istio_root"), following)
    try:
        published.publish(index, NEXT)
        with_index.krew("update")
        with_index.krew("upgrade", "istio-root")
    finally:
        following.unlink()
    assert with_index.links() == {"kubectl-istio_root"}
    store = with_index.home / ".krew/store/istio-root"
    assert [version.name for version in store.iterdir()] == [f"v{NEXT}"]
    assert (with_index.installed / "kubectl-istio_root").resolve().is_relative_to(store)
    assert with_index.does("kubectl", "istio-root", "--help").startswith("Usage: kubectl istio-root")


def test_uninstalled_ones_leave_nothing(with_index: User) -> None:
    with_index.krew("install", *QUALIFIED)
    with_index.krew("uninstall", *NAMES)
    assert with_index.links() == set()
    assert list((with_index.home / ".krew/store").iterdir()) == []
    with_index.krew("index", "remove", "istio")


def test_an_archive_and_a_manifest_install_without_any_network(user: User, published: Published) -> None:
    release(published.clone, "manifests", __version__, "--base-url", "https://nowhere.invalid")
    manifest = published.manifest("istio-root")
    user.krew("install", f"--manifest={manifest}", f"--archive={published.archive('istio_root')}")
    assert user.does("kubectl", "istio-root", "--version") == f"istio-root {__version__}\n"


def test_a_manifest_on_a_server_installs_without_any_index(user: User, published: Published, index: Path) -> None:
    assert index.exists()  # it is this server's manifests that are in krew/
    with served(published.clone / "krew/plugins") as url:
        # Else krew would fetch its own index, from elsewhere.
        user.krew("install", "--no-update-index", f"--manifest-url={url}/istio-certverify.yaml")
    assert user.does("kubectl", "istio-certverify", "--version") == f"istio-certverify {__version__}\n"


def test_a_zip_of_windows_is_installed_with_its_mode(
    user: User, published: Published, index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(ROOT / "build")
    archive = published.archives / f"kubectl-istio_root_v{NEXT}_windows_amd64.zip"
    importlib.import_module("archives").write_archive(archive, "kubectl-istio_root.exe", b"MZ", {"LICENSE": b"free"})
    try:
        published.publish(index, NEXT)
        user.environment |= {"KREW_OS": "windows", "KREW_ARCH": "amd64"}
        user.krew("install", f"--manifest={published.manifest('istio-root')}")
    finally:
        archive.unlink()
    (link,) = user.installed.iterdir()
    assert (link.name, os.access(link, os.X_OK), link.read_bytes()) == ("kubectl-istio_root.exe", True, b"MZ")


def test_an_archive_with_another_checksum_is_refused(user: User, published: Published, index: Path) -> None:
    assert index.exists()
    right = hashlib.sha256(published.archive("istio_root").read_bytes()).hexdigest()
    wrong = user.home / "istio-root.yaml"
    wrong.write_text(published.manifest("istio-root").read_text().replace(right, "0" * 64))
    done = user.types("kubectl", "krew", "install", f"--manifest={wrong}")
    assert done.returncode == 1
    assert "checksum does not match" in done.stderr
    assert user.links() == set()


@pytest.mark.parametrize("name", NAMES)
def test_the_validator_of_krew_s_own_index_has_nothing_to_say(
    user: User, published: Published, index: Path, name: str
) -> None:
    assert index.exists()
    done = user.types("validate-krew-manifest", "-manifest", str(published.manifest(name)))
    assert done.returncode == 0, done.stderr


def test_the_folder_split_off_is_an_index_too(user: User, published: Published, index: Path, tmp_path: Path) -> None:
    assert index.exists()
    copy = tmp_path / "clone"
    shutil.copytree(published.clone, copy, ignore=shutil.ignore_patterns("dist"))
    git = ("git", "-c", "user.name=test", "-c", "user.email=test@localhost", "-C", str(copy))
    user.does(*git, "add", "krew")
    user.does(*git, "commit", "--quiet", "--message=manifests")
    user.does(*git, "subtree", "split", "--prefix=krew", "--branch=index")
    user.does("git", "init", "--quiet", "--bare", "--initial-branch=main", str(tmp_path / "published.git"))
    user.does(*git, "push", "--quiet", str(tmp_path / "published.git"), "index:main")
    user.krew("index", "add", "istio", (tmp_path / "published.git").as_uri())
    assert "istio/istio-root" in user.krew("search", "istio")


def test_the_go_module_pins_the_krew_that_is_meant() -> None:
    assert f"require sigs.k8s.io/krew {KREW}\n" in (MODULE / "go.mod").read_text()

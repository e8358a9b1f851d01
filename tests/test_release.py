"""What a release is made of, what it refuses, and what stands in the manifests and bills that it writes."""

from __future__ import annotations

import hashlib
import importlib
import json
import re
import shutil
import subprocess
import sys
import tarfile
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from meshtrust import __version__
from releasing import PLUGINS, ROOT, built, commit_all, git, inputs, release, released, try_to_release

if TYPE_CHECKING:
    from pathlib import Path

NAMES = tuple(plugin.replace("_", "-") for plugin in PLUGINS)
PLATFORMS = {
    ("linux", "amd64"): "tar.gz",
    ("linux", "arm64"): "tar.gz",
    ("darwin", "amd64"): "tar.gz",
    ("darwin", "arm64"): "tar.gz",
    ("windows", "amd64"): "zip",
}
PAGE = "https://code.example/mesh/trust"


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clean clone of this tree as it is, with nothing made in it."""
    folder = tmp_path / "clone"
    for path in inputs():
        target = folder / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    (folder / ".gitignore").write_text("/dist/\n__pycache__/\n")
    commit_all(folder)
    return folder


@pytest.fixture(scope="module")
def whole(pytestconfig: pytest.Config) -> Path:
    return released(pytestconfig.cache)


def refused(clone: Path, *arguments: str) -> str:
    done = try_to_release(clone, *arguments)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    return done.stderr


def put_archives(clone: Path, *platforms: tuple[str, str], plugins: tuple[str, ...] = PLUGINS) -> None:
    (clone / "dist").mkdir(exist_ok=True)
    for plugin in plugins:
        for system, machine in platforms:
            name = f"kubectl-{plugin}_v{__version__}_{system}_{machine}.{PLATFORMS[system, machine]}"
            (clone / "dist" / name).write_bytes(name.encode())


def manifest(clone: Path, name: str) -> dict[str, Any]:
    said: dict[str, Any] = yaml.safe_load((clone / f"krew/plugins/{name}.yaml").read_text())
    return said


class TestItRefuses:
    def test_a_dirty_tree(self, clone: Path) -> None:
        (clone / "LICENSE").write_text("do as you like")
        (clone / "new").touch()
        assert "the tree is dirty: commit first (LICENSE, new)" in refused(clone, __version__)

    def test_a_version_that_is_a_tag_already_its_own_manifests_aside(self, clone: Path) -> None:
        put_archives(clone, ("linux", "amd64"))
        release(clone, "manifests", __version__)
        assert "krew/" in git(clone, "status", "--porcelain")  # which is no reason to refuse
        git(clone, "tag", f"v{__version__}")
        assert f"v{__version__} is a git tag already" in refused(clone, __version__)

    @pytest.mark.parametrize("version", ["v0.1.0", "0.1", "0.01.0", "latest"])
    def test_what_krew_would_not_take_for_a_version(self, clone: Path, version: str) -> None:
        assert "is no version" in refused(clone, version)

    def test_another_version_than_the_plugins_print(self, clone: Path) -> None:
        assert f"says {__version__}: set it to 9.9.9 there" in refused(clone, "9.9.9")

    def test_a_tree_that_is_no_clone(self, clone: Path) -> None:
        shutil.rmtree(clone / ".git")
        assert "no clone of a git repository" in refused(clone, __version__)

    def test_manifests_without_any_archive(self, clone: Path) -> None:
        assert f"no archive of version {__version__}" in refused(clone, "manifests", __version__)

    def test_an_index_without_manifests(self, clone: Path, tmp_path: Path) -> None:
        assert "krew/plugins holds no manifest" in refused(clone, "index", str(tmp_path / "index"))

    def test_a_folder_of_somebody_else_for_an_index(self, clone: Path, tmp_path: Path) -> None:
        put_archives(clone, ("linux", "amd64"))
        release(clone, "manifests", __version__)
        (tmp_path / "index").mkdir()
        (tmp_path / "index/thesis.txt").touch()
        assert "is not empty, and is no index" in refused(clone, "index", str(tmp_path / "index"))

    def test_a_file_whose_licence_nobody_knows(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.syspath_prepend(ROOT / "build")
        bundled = importlib.import_module("bundled")
        with pytest.raises(bundled.Unlicensed, match=r"libsecret\.so would be in the single file"):
            bundled.components(["/usr/lib/libsecret.so"])


class TestTheManifests:
    def test_name_only_platforms_whose_archives_are_there(self, clone: Path) -> None:
        put_archives(clone, *PLATFORMS)
        put_archives(clone, ("linux", "amd64"))
        for file in (clone / "dist").glob("kubectl-istio_root_*_darwin_*"):
            file.unlink()
        release(clone, "manifests", __version__)
        found = {
            name: [tuple(one["selector"]["matchLabels"].values()) for one in manifest(clone, name)["spec"]["platforms"]]
            for name in NAMES
        }
        assert {name: set(platforms) for name, platforms in found.items()} == {
            "istio-certverify": set(PLATFORMS),
            "istio-proxyver": set(PLATFORMS),
            "istio-root": {platform for platform in PLATFORMS if platform[0] != "darwin"},
        }

    def test_say_where_each_archive_lies_and_its_checksum_in_quotes(self, clone: Path) -> None:
        put_archives(clone, ("windows", "amd64"))
        release(clone, "manifests", __version__, "--base-url", "https://mirror.example/files/")
        name = f"kubectl-istio_root_v{__version__}_windows_amd64.zip"
        checksum = hashlib.sha256(name.encode()).hexdigest()
        assert manifest(clone, "istio-root")["spec"]["platforms"] == [
            {
                "selector": {"matchLabels": {"os": "windows", "arch": "amd64"}},
                "uri": f"https://mirror.example/files/{name}",
                "sha256": checksum,
                "bin": "kubectl-istio_root.exe",
            }
        ]
        assert f'sha256: "{checksum}"\n' in (clone / "krew/plugins/istio-root.yaml").read_text()

    @pytest.mark.parametrize("name", NAMES)
    def test_are_as_the_guides_of_krew_want_them(self, clone: Path, name: str) -> None:
        put_archives(clone, ("linux", "amd64"))
        release(clone, "manifests", __version__)
        said = manifest(clone, name)
        assert (said["metadata"]["name"], said["spec"]["version"]) == (name, f"v{__version__}")
        assert len(said["spec"]["shortDescription"]) <= 50
        assert max(map(len, said["spec"]["description"].splitlines())) <= 80
        assert (
            f"ln -s kubectl-{name.replace('-', '_')} kubectl_complete-{name.replace('-', '_')}\n"
            in (said["spec"]["caveats"])
        )

    @pytest.mark.parametrize(
        "origin",
        [
            PAGE,
            f"{PAGE}.git",
            f"{PAGE}/",
            "git@code.example:mesh/trust.git",
            "ssh://git@code.example/mesh/trust",
            "ssh://git@code.example:2222/mesh/trust.git",
        ],
    )
    def test_point_to_the_release_page_of_the_project(self, clone: Path, origin: str) -> None:
        git(clone, "remote", "add", "origin", origin)
        put_archives(clone, ("linux", "amd64"))
        assert release(clone, "manifests", __version__).stderr == ""
        said = manifest(clone, "istio-root")["spec"]
        assert said["homepage"] == PAGE
        assert said["platforms"][0]["uri"].startswith(f"{PAGE}/releases/download/v{__version__}/kubectl-istio_root_v")

    @pytest.mark.parametrize("origin", ["", "/home/somebody/trust", "file:///home/somebody/trust", "../trust"])
    def test_of_a_clone_without_a_page_point_nowhere_and_it_is_said(self, clone: Path, origin: str) -> None:
        if origin:
            git(clone, "remote", "add", "origin", origin)
        put_archives(clone, ("linux", "amd64"))
        assert "origin is no page" in release(clone, "manifests", __version__).stderr
        assert ".invalid/" in manifest(clone, "istio-root")["spec"]["platforms"][0]["uri"]


class TestTheIndex:
    def test_is_a_repository_with_the_manifests_at_its_root(self, clone: Path, tmp_path: Path) -> None:
        put_archives(clone, ("linux", "amd64"))
        release(clone, "manifests", __version__)
        release(clone, "index", str(tmp_path / "index"))
        listed = git(tmp_path / "index", "ls-tree", "-r", "--name-only", "HEAD").splitlines()
        assert listed == ["README.md", *(f"plugins/{name}.yaml" for name in NAMES)]

    def test_grows_by_a_commit_when_something_has_changed(self, clone: Path, tmp_path: Path) -> None:
        index = tmp_path / "index"
        put_archives(clone, ("linux", "amd64"))
        for base_url in ("https://a.example", "https://a.example", "https://b.example"):
            release(clone, "manifests", __version__, "--base-url", base_url)
            release(clone, "index", str(index))
        assert len(git(index, "rev-list", "HEAD").split()) == 2
        assert git(index, "status", "--porcelain") == ""


class TestTheArchives:
    def test_of_two_builds_in_different_folders_are_identical(self, whole: Path, pytestconfig: pytest.Config) -> None:
        assert (built(pytestconfig.cache) / "checksums.txt").read_text() == (whole / "dist/checksums.txt").read_text()

    @pytest.mark.parametrize("plugin", PLUGINS)
    def test_hold_the_notices_of_all_that_is_bundled(self, whole: Path, plugin: str) -> None:
        (archive,) = (whole / "dist").glob(f"kubectl-{plugin}_*.tar.gz")
        with tarfile.open(archive) as opened:
            content = opened.extractfile("NOTICES.txt")
            assert content is not None
            titles = re.findall(r"^={80}\n([\w-]+).* \(", content.read().decode(), re.MULTILINE)
        assert titles == [component["name"] for component in bill(whole, plugin)["components"]]
        assert {"cryptography", "openssl", "pyinstaller", "python", "typer", "urllib3"} <= set(titles)
        assert not {"kubectl-istio-trust", "mypy", "pytest", "rich"} & set(titles)


class TestTheBill:
    @pytest.mark.parametrize("plugin", PLUGINS)
    def test_is_one_that_cyclonedx_takes(self, whole: Path, plugin: str) -> None:
        text = json.dumps(bill(whole, plugin))
        assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None

    def test_names_the_plugin_by_its_checksum(self, whole: Path) -> None:
        component = bill(whole, "istio_root")["metadata"]["component"]
        assert (component["name"], component["version"]) == ("kubectl-istio_root", __version__)
        content = (whole / "dist/kubectl-istio_root").read_bytes()
        assert component["hashes"] == [{"alg": "SHA-256", "content": hashlib.sha256(content).hexdigest()}]

    def test_lists_what_is_inside_of_what_is_inside(self, whole: Path) -> None:
        (found,) = (one for one in bill(whole, "istio_root")["components"] if one["name"] == "cryptography")
        assert "openssl" in {part["name"] for part in found["components"]}


def bill(whole: Path, plugin: str) -> dict[str, Any]:
    (file,) = (whole / "dist").glob(f"kubectl-{plugin}_*.cdx.json")
    said: dict[str, Any] = json.loads(file.read_text())
    return said


@pytest.mark.skipif(sys.platform != "linux", reason="GLIBC is Linux's")
class TestGlibc:
    def test_that_is_needed_is_that_of_the_most_demanding_file_inside(
        self, whole: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.syspath_prepend(ROOT / "build")
        plugin, inside = whole / "dist/kubectl-istio_root", (whole / "dist/.work/plugins/istio_root.contents")
        files = [plugin, *(line for line in inside.read_text().splitlines() if ".so" in line)]
        said = subprocess.run(["objdump", "-p", *files], capture_output=True, text=True, check=True).stdout
        needed = {(int(major), int(minor)) for major, minor in re.findall(r"GLIBC_(\d+)\.(\d+)", said)}
        assert importlib.import_module("freezing").glibc([plugin]) == max(needed)

    @pytest.mark.parametrize(
        ("limit", "said"),
        [((2, 28), "GLIBC 2.35 is newer than 2.28: build on an older system"), ((2, 35), ""), (None, "")],
    )
    def test_newer_than_what_is_promised_is_refused(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, limit: tuple[int, int] | None, said: str
    ) -> None:
        monkeypatch.syspath_prepend(ROOT / "build")
        (tmp_path / "plugin").write_bytes(b"\0GLIBC_2.2.5\0GLIBC_2.35\0GLIBC_2.9\0GLIBC_PRIVATE\0")
        freezing = importlib.import_module("freezing")
        assert freezing.too_demanding(freezing.glibc([tmp_path / "plugin"]), limit) == said

"""The single-file plugin as people get it: from a shell, through kubectl, interrupted, asked what its source is."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import signal
import subprocess
import sys
import tarfile
from dataclasses import replace
from time import sleep
from typing import TYPE_CHECKING, Any

import pytest
import yaml

import proxy_meshes
import test_proxyver_verdicts
from judging import live, recorded
from meshes import CASES, NOW, ROOT, istiod
from meshtrust import __version__
from meshtrust.render import Output, render
from proxy_meshes import CASES as PROXY_CASES
from releasing import PLUGINS, built
from sandbox import Authority
from sandbox.faults import Silence
from sandbox.server import serve

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from meshtrust.report import Report
    from sandbox.server import Server

NAME = "kubectl-istio_root"


@pytest.fixture(scope="session")
def dist(pytestconfig: pytest.Config) -> Path:
    return built(pytestconfig.cache)


class Binary:
    """Runs the file in an environment of its own, with a folder for what it unpacks."""

    def __init__(self, file: Path, folder: Path) -> None:
        self.file = file
        self.folder = folder
        self.unpacked = folder / "unpacked"
        self.unpacked.mkdir()
        self.environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "TMPDIR": str(self.unpacked)}

    def __call__(
        self, *arguments: str, command: tuple[str | Path, ...] = (), environment: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*(command or (self.file,)), *arguments],
            capture_output=True,
            encoding="utf-8",
            timeout=60,
            check=False,
            cwd=self.folder,
            env=self.environment if environment is None else environment,
        )

    def leaves_nothing(self) -> bool:
        return not any(self.unpacked.iterdir())


@pytest.fixture
def binary(dist: Path, tmp_path: Path) -> Binary:
    return Binary(dist / NAME, tmp_path)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serve(CASES["stale-copy"].mesh) as running:
        yield running


class TestItStarts:
    def test_from_anywhere(self, binary: Binary) -> None:
        done = binary("--version")
        assert (done.returncode, done.stdout, done.stderr) == (0, f"istio-root {__version__}\n", "")

    def test_without_any_environment(self, binary: Binary) -> None:
        done = binary("--version", environment={"PATH": "/usr/bin:/bin"})
        assert (done.returncode, done.stdout, done.stderr) == (0, f"istio-root {__version__}\n", "")

    def test_through_a_link_as_krew_makes_it(self, binary: Binary) -> None:
        link = binary.folder / NAME
        link.symlink_to(binary.file)
        done = binary("--help", command=(link,))
        assert (done.returncode, done.stderr) == (0, "")
        assert "Usage: kubectl istio-root" in done.stdout

    def test_in_a_locale_of_c_it_still_prints_utf_8(self, binary: Binary) -> None:
        root = replace(ROOT, subject="O=Käse", string_type="utf8")
        recording = istiod(ca=Authority(root=root)).dump(binary.folder / "mesh.yaml")
        done = binary("expiry", "-f", str(recording), environment={"LC_ALL": "C", "LANG": "C"})
        assert (done.returncode, done.stderr) == (0, "")
        assert "O=Käse" in done.stdout


class TestThroughKubectl:
    @pytest.fixture
    def binary(self, binary: Binary, dist: Path) -> Binary:
        binary.environment["PATH"] = os.pathsep.join((str(dist), os.environ["PATH"], f"{sys.prefix}/bin"))
        return binary

    def test_it_is_a_command_of_kubectl(self, binary: Binary) -> None:
        done = binary("istio-root", "--help", command=("kubectl",))
        assert (done.returncode, done.stderr) == (0, "")
        assert "Usage: kubectl istio-root" in done.stdout

    def test_the_exit_code_is_kept(self, binary: Binary, server: Server) -> None:
        done = binary("istio-root", "expiry", command=("kubectl",), environment=binary.environment | server.environment)
        assert (done.returncode, done.stderr) == (2, "")


class TestItFailsInOneLine:
    @pytest.mark.parametrize(
        ("arguments", "code"),
        [
            (("expiry", "--kubeconfig", "missing"), 3),
            (("expiry", "--server", "http://127.0.0.1:1"), 3),
            (("expiry", "--no-such-flag"), 64),
            (("expiry", "-f", "missing.yaml"), 3),
        ],
    )
    def test_with_its_exit_code(self, binary: Binary, arguments: tuple[str, ...], code: int) -> None:
        done = binary(*arguments)
        assert (done.returncode, done.stdout) == (code, "")
        assert done.stderr.startswith("error: ")
        assert done.stderr.count("\n") == 1
        assert binary.leaves_nothing()


class TestItIsAGoodChild:
    def test_a_reader_that_has_seen_enough_hears_nothing_more(self, binary: Binary) -> None:
        line = f"{shlex.quote(str(binary.file))} expiry --help | head -n 1"
        done = binary("-c", line, command=("sh",))
        assert (done.returncode, done.stdout.count("\n"), done.stderr) == (0, 1, "")
        assert binary.leaves_nothing()

    @pytest.mark.parametrize(("to_all", "number", "code"), [(True, signal.SIGINT, 130), (False, signal.SIGTERM, -15)])
    def test_an_interrupted_one_is_quiet_and_takes_its_files_along(
        self, binary: Binary, number: signal.Signals, code: int, *, to_all: bool
    ) -> None:
        with serve(istiod()) as server:
            server.faults.add(Silence())
            process = subprocess.Popen(
                [binary.file, "expiry"],
                env=binary.environment | server.environment,
                start_new_session=True,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            while not server.requests:  # until then it has not begun to wait
                assert process.poll() is None
                sleep(0.01)
            if to_all:  # as a terminal does it
                os.killpg(process.pid, number)
            else:
                process.send_signal(number)
            said = process.communicate(timeout=60)
        assert (process.returncode, said) == (code, ("", ""))
        assert binary.leaves_nothing()

    def test_credential_plugins_get_the_library_path_of_the_user(self, binary: Binary, server: Server) -> None:
        seen, plugin = binary.folder / "seen", binary.folder / "plugin"
        credential = {
            "apiVersion": "client.authentication.k8s.io/v1",
            "kind": "ExecCredential",
            "status": {"token": server.token},
        }
        plugin.write_text(f'#!/bin/sh\necho "$LD_LIBRARY_PATH" >"{seen}"\necho \'{json.dumps(credential)}\'\n')
        plugin.chmod(0o755)
        config: dict[str, Any] = yaml.safe_load(server.kubeconfig.read_text())
        entry = {"apiVersion": credential["apiVersion"], "command": str(plugin), "interactiveMode": "Never"}
        config["users"][0]["user"] = {"exec": entry}
        (binary.folder / "kubeconfig").write_text(yaml.safe_dump(config))
        mine = {"KUBECONFIG": str(binary.folder / "kubeconfig"), "LD_LIBRARY_PATH": "/of/the/user"}
        done = binary("expiry", environment=binary.environment | mine)
        assert (done.returncode, done.stderr) == (2, "")
        assert seen.read_text() == "/of/the/user\n"

    @pytest.mark.parametrize(
        ("room", "code", "said"),
        [
            (1_000_000, 255, "Failed to extract entry: libpython"),  # the bootloader's own words
            (8_000_000, 3, "File too large - the plugin unpacks itself there: set TMPDIR to another folder"),
        ],
    )
    def test_where_it_can_not_unpack_itself_it_says_so(self, binary: Binary, room: int, code: int, said: str) -> None:
        # A limit to the size of files meets it as a full disk does.
        limiting = "import os, resource as r, sys; r.setrlimit(r.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2)"
        limiting += "; os.execv(sys.argv[2], sys.argv[2:])"
        command = (sys.executable, "-c", limiting, str(room), binary.file)
        done = binary("expiry", "-f", str(istiod().dump(binary.folder / "mesh.yaml")), command=command)
        assert (done.returncode, done.stdout) == (code, "")
        assert said in done.stderr
        assert "Traceback" not in done.stderr
        assert "defect" not in done.stderr

    def test_it_starts_with_nothing_in_its_environment(self, binary: Binary) -> None:
        for plugin in PLUGINS:
            file = binary.file.with_name(f"kubectl-{plugin}")
            done = binary("-i", str(file), "--version", command=("env",))
            assert (done.returncode, done.stdout) == (0, f"{plugin.replace('_', '-')} {__version__}\n")

    def test_the_system_s_authorities_are_found_and_others_named(self, binary: Binary, server: Server) -> None:
        config: dict[str, Any] = yaml.safe_load(server.kubeconfig.read_text())
        del config["clusters"][0]["cluster"]["certificate-authority"]
        (binary.folder / "kubeconfig").write_text(yaml.safe_dump(config))
        mine = binary.environment | {"KUBECONFIG": str(binary.folder / "kubeconfig")}
        refused = binary("expiry", environment=mine)
        assert (refused.returncode, refused.stderr.count("\n")) == (3, 1)
        named = binary("expiry", environment=mine | {"SSL_CERT_FILE": str(server.files.authority)})
        assert (named.returncode, named.stderr) == (2, "")


class TestTheArchive:
    def test_holds_the_plugin_its_licence_and_those_of_others(self, dist: Path) -> None:
        (archive,) = dist.glob(f"{NAME}_v{__version__}_*.tar.gz")
        with tarfile.open(archive) as opened:
            entries = {entry.name: (entry.isreg(), oct(entry.mode)) for entry in opened}
            content = opened.extractfile(NAME)
            assert content is not None
            assert content.read() == (dist / NAME).read_bytes()
        assert entries == {"LICENSE": (True, "0o644"), "NOTICES.txt": (True, "0o644"), NAME: (True, "0o755")}

    def test_has_the_checksum_that_is_published(self, dist: Path) -> None:
        sums = (dist / "checksums.txt").read_text().splitlines()
        files = [dist / line.partition("  ")[2] for line in sums]
        assert sums == [f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}" for file in files]
        assert set(files) == {*dist.glob("*.tar.gz"), *dist.glob("*.cdx.json")}

    def test_is_small_enough_to_be_fetched(self, dist: Path) -> None:
        sizes = {archive.name: archive.stat().st_size for archive in dist.glob("*.tar.gz")}
        assert max(sizes.values()) <= 12_000_000, sizes


class TestItAgreesWithTheSource:
    @pytest.mark.parametrize("name", CASES)
    def test_on_recorded_meshes(self, binary: Binary, name: str) -> None:
        mesh = CASES[name].mesh
        done = binary(
            "expiry", "-f", str(mesh.dump(binary.folder / "mesh.yaml")), "-o", "json", "--at", NOW.isoformat()
        )
        assert done.stderr == ""
        assert verdict(json.loads(done.stdout)) == expected(recorded(mesh, binary.folder))

    @pytest.mark.parametrize("name", CASES)
    def test_on_live_meshes(self, binary: Binary, server: Server, name: str) -> None:
        server.become(CASES[name].mesh)
        wanted = expected(live(server))
        found = binary(
            "expiry", "-o", "json", "--at", NOW.isoformat(), environment=binary.environment | server.environment
        )
        assert found.stderr == ""
        assert verdict(json.loads(found.stdout)) == wanted


class TestProxyver:
    @pytest.fixture
    def binary(self, dist: Path, tmp_path: Path) -> Binary:
        made = Binary(dist / "kubectl-istio_proxyver", tmp_path)
        made.environment["PATH"] = os.pathsep.join((str(dist), os.environ["PATH"], f"{sys.prefix}/bin"))
        return made

    def test_it_starts_and_is_a_command_of_kubectl(self, binary: Binary) -> None:
        done = binary("--version", environment={"PATH": "/usr/bin:/bin"})
        assert (done.returncode, done.stdout, done.stderr) == (0, f"istio-proxyver {__version__}\n", "")
        done = binary("istio-proxyver", "--help", command=("kubectl",))
        assert (done.returncode, done.stderr) == (0, "")
        assert "Usage: kubectl istio-proxyver" in done.stdout
        assert binary.leaves_nothing()

    def test_it_names_a_proxy_that_will_miss_a_new_root_with_its_restart_command(self, binary: Binary) -> None:
        with serve(PROXY_CASES["one-1.1.5"].mesh) as server:
            done = binary("istio-proxyver", command=("kubectl",), environment=binary.environment | server.environment)
        assert (done.returncode, done.stderr) == (2, "")
        assert "kubectl rollout restart deploy/ledger -n bank" in done.stdout

    @pytest.mark.parametrize("name", PROXY_CASES)
    def test_it_agrees_with_the_source(self, binary: Binary, name: str) -> None:
        mesh = PROXY_CASES[name].mesh
        recording = str(proxy_meshes.dump(mesh, binary.folder / "mesh.json"))
        done = binary("-f", recording, "-o", "json", "--at", NOW.isoformat())
        assert done.stderr == ""
        assert verdict(json.loads(done.stdout)) == expected(test_proxyver_verdicts.recorded(mesh, binary.folder))

    def test_it_asks_the_proxies_that_their_images_do_not_tell(self, binary: Binary) -> None:
        with serve(PROXY_CASES["told-by-the-proxy"].mesh) as server:
            done = binary("-o", "json", environment=binary.environment | server.environment)
        assert (done.returncode, done.stderr) == (0, "")
        sources = {row["source"] for row in json.loads(done.stdout)["rows"]}
        assert sources == {"image tag", "proxy"}


def expected(report: Report) -> Mapping[str, Any]:
    return verdict(json.loads(render(report, Output.JSON)))


def verdict(envelope: Mapping[str, Any]) -> Mapping[str, Any]:
    """Everything but when it was asked for, which `--at` puts into the remarks."""
    return {key: value for key, value in envelope.items() if key not in {"read_at", "remarks"}}

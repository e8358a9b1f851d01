"""Completion: what kubectl and shells are answered, live values included, and the scripts of shells themselves."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from meshes import CASES
from meshtrust.completion import complete
from meshtrust.completion.answering import candidates
from meshtrust.completion.vocabulary import Option, Verb, vocabulary
from proxy_meshes import CASES as PROXY_CASES
from releasing import PLUGINS, built
from sandbox.server import serve

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sandbox.server import Server

COMMANDS = Path(sys.prefix, "bin")


class Tab:
    """Somebody who presses TAB, with commands of their own and no kubeconfig that is found by chance."""

    def __init__(self, folder: Path, commands: Path = COMMANDS) -> None:
        self.folder = folder
        for plugin in PLUGINS:
            (folder / f"kubectl-{plugin}").symlink_to(commands / f"kubectl-{plugin}")
            (folder / f"kubectl_complete-{plugin}").symlink_to(f"kubectl-{plugin}")
        (folder / "kubectl").symlink_to(COMMANDS / "kubectl")
        path = os.pathsep.join((str(folder), os.environ["PATH"]))
        self.environment = {"HOME": str(folder), "PATH": path, "KUBERC": "off"}

    def __call__(self, *words: str, plugin: str = "istio_root") -> list[str]:
        """Give the candidates, and the directive at the end."""
        with pytest.MonkeyPatch.context() as here:
            here.chdir(self.folder)
            here.delenv("KUBECONFIG", raising=False)
            for name, value in self.environment.items():
                here.setenv(name, value)
            answer = complete(f"{plugin}.app", words)
        return [line.partition("\t")[0] for line in answer.splitlines()]

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        program = shutil.which(command[0], path=self.environment["PATH"]) or command[0]
        return subprocess.run(
            [program, *command[1:]],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )


@pytest.fixture
def tab(tmp_path: Path) -> Tab:
    return Tab(tmp_path)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serve(CASES["stale-copy"].mesh) as running:
        yield running


@pytest.fixture
def live(tab: Tab, server: Server) -> Tab:
    tab.environment |= server.environment
    return tab


class TestWhatIsKnownWithoutAsking:
    def test_verbs(self, tab: Tab) -> None:
        verbs = [verb.name for verb in vocabulary("istio_root.app")]
        assert tab("") == [*verbs, "completion", ":4"]
        assert tab("exp") == ["expiry", ":4"]

    def test_options_of_the_verb_each_once_unless_it_may_be_repeated(self, tab: Tab) -> None:
        assert tab("expiry", "--war") == ["--warn", ":4"]
        assert tab("expiry", "--warn", "9d", "--war") == [":4"]
        assert tab("expiry", "-f", "a", "--file") == ["--filename", ":4"]

    def test_before_the_verb_only_what_all_verbs_have(self) -> None:
        shared, own = Option(("--context",)), Option(("--warn",))
        verbs = (Verb("expiry", "", (own, shared)), Verb("status", "", (shared,)))
        assert candidates(verbs, ["--"], lambda *_asked: ()) == [("--context", "")]
        assert candidates(verbs, ["--context", "expiry", "expiry", "--w"], lambda *_asked: ()) == [("--warn", "")]

    def test_no_option_behind_two_dashes(self, tab: Tab) -> None:
        assert tab("expiry", "--", "--war") == [":4"]

    @pytest.mark.parametrize("typed", [("-o", "j"), ("--output", "j"), ("-o=j",), ("--output=j",), ("-qo", "j")])
    def test_output_formats_in_every_spelling(self, tab: Tab, typed: tuple[str, ...]) -> None:
        assert tab("expiry", *typed) == ["json", ":4"]
        assert tab(*typed) == ["json", ":4"]

    def test_choices_of_a_plugin_with_one_command(self, tab: Tab) -> None:
        assert tab("--by", "", plugin="istio_proxyver") == ["version", "namespace", "owner", ":4"]
        assert tab("--fail-on=", plugin="istio_certverify") == ["warning", "unknown", "critical", ":4"]

    def test_choices_of_a_change_of_the_root(self, tab: Tab) -> None:
        assert tab("transition", "--key-identifier=") == ["keep", "drop", ":4"]
        assert tab("transition", "--key-identifier", "d") == ["drop", ":4"]
        assert tab("restore", "--key-identifier=") == [":4"]
        assert tab("restore", "--acc") == ["--accept-unseen", ":4"]

    def test_what_a_flag_may_be_set_to(self, tab: Tab) -> None:
        assert tab("expiry", "--quiet=") == ["true", "false", ":4"]
        assert tab("transition", "--apply=") == ["true", "false", ":4"]

    def test_files_are_left_to_the_shell(self, tab: Tab) -> None:
        for option in ("-f", "--kubeconfig", "--certificate-authority"):
            assert tab("expiry", option, "") == [":0"]
        for option in ("--emit", "--key-file"):
            assert tab("transition", option, "") == [":0"]

    def test_shells(self, tab: Tab) -> None:
        for plugin in PLUGINS:
            assert tab("completion", "", plugin=plugin) == ["bash", "zsh", "fish", ":4"]

    def test_nothing_for_what_nobody_can_know(self, tab: Tab) -> None:
        assert tab("expiry", "--warn", "") == [":4"]
        assert tab("expiry", "--no-such-option=") == [":4"]

    def test_the_version_is_not_printed_while_it_is_typed(self, tab: Tab) -> None:
        done = tab.run("kubectl_complete-istio_root", "--version")
        assert (done.returncode, done.stdout.splitlines()[-1], done.stderr) == (0, ":4", "")

    def test_as_the_scripts_of_cobra_ask(self, tab: Tab) -> None:
        assert tab.run("kubectl-istio_root", "__complete", "exp").stdout.startswith("expiry\t")

    @pytest.mark.parametrize("plugin", PLUGINS)
    def test_through_kubectl(self, tab: Tab, plugin: str) -> None:
        done = tab.run("kubectl", "__complete", plugin.replace("_", "-"), "--fail")
        assert done.stdout.splitlines()[0].startswith("--fail-on\t")
        assert ":4" in done.stdout.splitlines()

    @pytest.mark.parametrize("plugin", PLUGINS)
    def test_by_the_single_file_as_by_its_source(
        self, pytestconfig: pytest.Config, tmp_path: Path, plugin: str
    ) -> None:
        (tmp_path / "source").mkdir()
        (tmp_path / "frozen").mkdir()
        source, frozen = Tab(tmp_path / "source"), Tab(tmp_path / "frozen", built(pytestconfig.cache))
        for words in (("-",), ("",), ("-o", ""), ("--fail-on=",)):
            command = (f"kubectl_complete-{plugin}", *words)
            assert frozen.run(*command).stdout == source.run(*command).stdout


class TestLiveValues:
    def test_contexts_clusters_and_users_of_the_kubeconfig(self, live: Tab) -> None:
        config = yaml.safe_load(Path(live.environment["KUBECONFIG"]).read_text())
        for option, section in (("--context", "contexts"), ("--cluster", "clusters"), ("--user", "users")):
            assert live("expiry", option, "") == [*sorted(entry["name"] for entry in config[section]), ":4"]

    def test_contexts_of_the_kubeconfig_that_was_typed(self, tab: Tab, server: Server) -> None:
        config = yaml.safe_load(server.kubeconfig.read_text())
        config["contexts"][0]["name"] = "typed:and/odd"
        (tab.folder / "mine").write_text(yaml.safe_dump(config))
        assert tab("--kubeconfig=mine", "expiry", "--context=typed") == ["typed:and/odd", ":4"]

    def test_of_a_strange_name_stay_on_their_line(self, tab: Tab) -> None:
        config = {"contexts": [{"name": "two\nlines\x1b[2J", "context": {}}], "clusters": [], "users": []}
        (tab.folder / "mine").write_text(yaml.safe_dump(config))
        assert tab("--kubeconfig=mine", "--context=") == ["two?lines?[2J", ":4"]

    def test_namespaces(self, live: Tab, server: Server) -> None:
        assert live("expiry", "-n", "istio-") == ["istio-system", ":4"]
        assert "kube-system" not in live("--istioNamespace", "istio-")
        assert server.requests

    def test_revisions(self, live: Tab) -> None:
        assert live("expiry", "-r", "") == ["default", ":4"]

    def test_proxies_with_their_namespaces_and_in_one_without(self, tab: Tab) -> None:
        with serve(PROXY_CASES["all-of-istiod"].mesh) as server:
            tab.environment |= server.environment
            everywhere = tab("", plugin="istio_certverify")[:-1]
            one = everywhere[0]
            name, _, namespace = one.rpartition(".")
            assert tab(one[:-1], plugin="istio_certverify") == [one, ":4"]
            assert name in tab("-n", namespace, "", plugin="istio_certverify")

    def test_of_a_recording(self, tab: Tab) -> None:
        CASES["stale-copy"].mesh.dump(tab.folder / "mesh.yaml")
        assert tab("expiry", "-f", "mesh.yaml", "-n", "istio-") == ["istio-system", ":4"]

    def test_that_nobody_tells_are_none_and_no_error(self, tab: Tab, server: Server) -> None:
        assert tab("expiry", "-n", "") == [":4"]  # no kubeconfig
        assert tab("expiry", "--server", "http://127.0.0.1:1", "-n", "") == [":4"]
        assert tab("expiry", "--no-such-option", "-n", "") == [":4"]
        tab.environment |= server.environment | {"KUBECONFIG": str(tab.folder / "missing")}
        assert tab("expiry", "--context", "") == [":4"]

    def test_that_are_forbidden_are_none_and_no_error(self, tab: Tab) -> None:
        with serve(CASES["stale-copy"].mesh) as server:
            server.forbid("list", "namespaces")
            tab.environment |= server.environment
            assert tab("expiry", "-n", "") == [":4"]


class TestTheScripts:
    @pytest.mark.parametrize("plugin", PLUGINS)
    @pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
    def test_are_what_the_shell_can_read(self, tab: Tab, plugin: str, shell: str) -> None:
        done = tab.run(f"kubectl-{plugin}", "completion", shell)
        assert (done.returncode, done.stderr) == (0, "")
        assert "istio_tool" not in done.stdout
        if not shutil.which(shell):
            pytest.skip(f"THE SCRIPT IS NOT READ: there is no {shell} here")
        (tab.folder / "script").write_text(done.stdout)
        read = tab.run(shell, "-n", "script")
        assert (read.returncode, read.stderr) == (0, "")

    def test_for_another_shell_there_is_none(self, tab: Tab) -> None:
        for words in ((), ("tcsh",), ("bash", "zsh")):
            done = tab.run("kubectl-istio_root", "completion", *words)
            assert (done.returncode, done.stdout, done.stderr.count("\n")) == (64, "", 1)

    @pytest.mark.parametrize(
        ("line", "found"),
        [
            ("kubectl-istio_root exp", ["expiry"]),
            ("kubectl istio-root exp", ["expiry"]),
            ("kubectl istio_root expiry -o j", ["json"]),
            ("kubectl istio-root expiry --output=", ["table", "wide", "json", "yaml", "name"]),
            ("kubectl istio-root expiry --context=odd:and", ["and:so"]),  # bash has odd: already
            ("kubectl get po", ["pods"]),  # kubectl's own
            ("kubectl istio-proxyver --by o", ["owner"]),
        ],
    )
    def test_of_bash_answer_beside_those_of_kubectl(self, tab: Tab, line: str, found: list[str]) -> None:
        config = {"contexts": [{"name": "odd:and:so", "context": {}}], "clusters": [], "users": []}
        (tab.folder / "config").write_text(yaml.safe_dump(config))
        tab.environment["KUBECONFIG"] = str(tab.folder / "config")
        script = """
            of_kubectl() { COMPREPLY=(pods); }
            complete -o default -F of_kubectl kubectl
            source <(kubectl istio-root completion bash)
            source <(kubectl istio-proxyver completion bash)
            source <(kubectl istio-root completion bash)  # twice does no harm
            COMP_LINE=$1 COMP_POINT=${#1}
            spaced=${1//=/ = } spaced=${spaced//:/ : }  # where bash ends words
            read -ra COMP_WORDS <<<"$spaced"
            COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
            completing=$(complete -p "${COMP_WORDS[0]}")
            completing=${completing#* -F }
            ${completing%% *}
            printf '%s\\n' "${COMPREPLY[@]}"
        """
        done = tab.run("bash", "-c", script, "bash", line)
        assert (done.stdout.splitlines(), done.stderr) == (found, "")

    @pytest.mark.skipif(not shutil.which("fish"), reason="THE SCRIPT OF FISH IS NOT RUN: there is no fish here")
    @pytest.mark.parametrize(
        ("line", "found"),
        [
            ("kubectl-istio_root exp", ["expiry"]),
            ("kubectl istio-root exp", ["expiry"]),
            ("kubectl istio-root expiry --output=ya", ["--output=yaml"]),
            ("kubectl istio-proxyver --by o", ["owner"]),
        ],
    )
    def test_of_fish_answer_by_themselves(self, tab: Tab, line: str, found: list[str]) -> None:
        script = "kubectl $argv[1] completion fish | source; complete --do-complete=$argv[2]"
        tool = re.findall(r"istio[-_]\w+", line)[0].replace("_", "-")
        done = tab.run("fish", "--no-config", "-c", script, tool, line)
        assert [answer.partition("\t")[0] for answer in done.stdout.splitlines()] == found

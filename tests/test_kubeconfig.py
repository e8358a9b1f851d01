"""Which cluster is asked, as whom: kubeconfig files, options and pods, as kubectl would choose."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from meshtrust.cluster import Cluster, Connection
from meshtrust.cluster.kubeconfig import read_context
from meshtrust.errors import ToolError

if TYPE_CHECKING:
    from pathlib import Path

PEM = "LS0tLS1CRUdJTg=="


@pytest.fixture(autouse=True)
def _no_kubeconfig_of_ours(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("KUBECONFIG", "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT", "POD_NAMESPACE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


def kubeconfig(path: Path, *names: str, current: str = "", **more: Any) -> Path:
    """Write a file with a context, a cluster and a user of each name; `cluster` and `user` are added to each."""
    cluster, user, context = more.get("cluster", {}), more.get("user", {}), more.get("context", {})
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "clusters": [{"name": name, "cluster": {"server": f"https://{name}:6443", **cluster}} for name in names],
        "users": [{"name": name, "user": {"token": f"token-of-{name}", **user}} for name in names],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name, **context}} for name in names],
    }
    path.write_text(yaml.safe_dump(content | ({"current-context": current} if current else {})))
    return path


def refusal(connection: Connection) -> str:
    with pytest.raises(ToolError) as refused:
        Cluster(connection)
    assert refused.value.hint
    assert "\n" not in refused.value.message
    return refused.value.message


def test_the_current_context_is_taken_and_names_the_namespace(tmp_path: Path) -> None:
    file = kubeconfig(tmp_path / "config", "one", "two", current="two", context={"namespace": "bank"})
    with Cluster(Connection(kubeconfig=str(file))) as cluster:
        assert cluster.namespace == "bank"
    context = read_context(Connection(kubeconfig=str(file)))
    assert (context.name, context.server, context.user) == ("two", "https://two:6443", {"token": "token-of-two"})


def test_a_context_without_a_namespace_means_default(tmp_path: Path) -> None:
    file = kubeconfig(tmp_path / "config", "one", current="one")
    with Cluster(Connection(kubeconfig=str(file))) as cluster:
        assert cluster.namespace == "default"


def test_options_pick_another_context_cluster_and_user(tmp_path: Path) -> None:
    file = kubeconfig(tmp_path / "config", "one", "two", "three", current="one")
    context = read_context(Connection(kubeconfig=str(file), context="two", cluster="three", user="one"))
    assert (context.server, context.user["token"]) == ("https://three:6443", "token-of-one")


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"context": "nope"}, 'context "nope" does not exist'),
        ({"cluster": "nope"}, 'cluster "nope" does not exist'),
        ({"user": "nope"}, 'user "nope" does not exist'),
    ],
)
def test_a_name_that_is_not_there_is_refused(tmp_path: Path, option: dict[str, str], message: str) -> None:
    file = kubeconfig(tmp_path / "config", "one", current="one")
    assert refusal(Connection(kubeconfig=str(file), **option)) == message


class TestSeveralFiles:
    def listed(self, monkeypatch: pytest.MonkeyPatch, *paths: Path | str) -> Connection:
        monkeypatch.setenv("KUBECONFIG", os.pathsep.join(map(str, paths)))
        return Connection()

    def test_the_first_file_that_sets_a_current_context_wins(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        none = kubeconfig(tmp_path / "a", "a")
        first = kubeconfig(tmp_path / "b", "b", current="b")
        second = kubeconfig(tmp_path / "c", "c", current="c")
        assert read_context(self.listed(monkeypatch, none, first, second)).name == "b"

    def test_the_first_entry_of_a_name_wins(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        first = kubeconfig(tmp_path / "a", "same", current="same", cluster={"server": "https://first"})
        second = kubeconfig(tmp_path / "b", "same", cluster={"server": "https://second"})
        assert read_context(self.listed(monkeypatch, first, second)).server == "https://first"

    def test_missing_and_empty_files_are_passed_over(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        (tmp_path / "empty").touch()
        file = kubeconfig(tmp_path / "config", "one", current="one")
        connection = self.listed(monkeypatch, tmp_path / "missing", "", tmp_path / "empty", file, file)
        assert read_context(connection).name == "one"

    def test_a_context_may_name_a_cluster_of_another_file(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        contexts = tmp_path / "contexts"
        contexts.write_text(
            yaml.safe_dump(
                {"contexts": [{"name": "x", "context": {"cluster": "one", "user": "one"}}], "current-context": "x"}
            )
        )
        assert (
            read_context(self.listed(monkeypatch, contexts, kubeconfig(tmp_path / "config", "one"))).address
            == "one:6443"
        )

    def test_the_option_is_one_file_even_with_a_colon_in_its_path(self, tmp_path: Path) -> None:
        file = kubeconfig(tmp_path / "a:b" / "config", "one", current="one")
        assert read_context(Connection(kubeconfig=str(file))).name == "one"

    def test_the_file_of_the_home_folder_is_the_default(self, tmp_path: Path) -> None:
        kubeconfig(tmp_path / "home" / ".kube" / "config", "home", current="home")
        assert read_context(Connection()).name == "home"


def test_paths_are_relative_to_the_file_that_they_stand_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    users = {"client-certificate": "pki/me.crt", "client-key": "/abs/me.key", "tokenFile": "../token"}
    kubeconfig(tmp_path / "u" / "users", "one", user={"exec": {"command": "./bin/login", "apiVersion": "v1"}, **users})
    kubeconfig(tmp_path / "c" / "clusters", "two", current="two", cluster={"certificate-authority": "ca.crt"})
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KUBECONFIG", os.pathsep.join(("c/clusters", "u/users")))
    context = read_context(Connection(user="one"))
    assert context.cluster["certificate-authority"] == f"{tmp_path}/c/ca.crt"
    assert context.user["client-certificate"] == f"{tmp_path}/u/pki/me.crt"
    assert context.user["client-key"] == "/abs/me.key"
    assert context.user["tokenFile"] == f"{tmp_path}/u/../token"
    assert context.user["exec"]["command"] == f"{tmp_path}/u/bin/login"


def test_a_command_without_a_slash_is_left_to_path(tmp_path: Path) -> None:
    file = kubeconfig(tmp_path / "config", "one", current="one", user={"exec": {"command": "aws", "apiVersion": "v1"}})
    assert read_context(Connection(kubeconfig=str(file))).user["exec"]["command"] == "aws"


class TestOptionsOverAFile:
    def context(
        self, tmp_path: Path, cluster: dict[str, Any] | None = None, user: dict[str, Any] | None = None, **options: Any
    ) -> Any:
        file = kubeconfig(tmp_path / "config", "one", current="one", cluster=cluster or {}, user=user or {})
        return read_context(Connection(kubeconfig=str(file), **options))

    def test_another_server_forgets_the_name_of_the_first(self, tmp_path: Path) -> None:
        context = self.context(tmp_path, {"tls-server-name": "one.example"}, server="https://10.0.0.1")
        assert context.cluster == {"server": "https://10.0.0.1"}

    def test_a_tls_server_name(self, tmp_path: Path) -> None:
        context = self.context(tmp_path, {"tls-server-name": "one.example"}, tls_server_name="two.example")
        assert context.cluster["tls-server-name"] == "two.example"

    def test_skipping_verification_forgets_the_authority(self, tmp_path: Path) -> None:
        context = self.context(tmp_path, {"certificate-authority-data": PEM}, insecure_skip_tls_verify=True)
        assert context.cluster == {"server": "https://one:6443", "insecure-skip-tls-verify": True}

    def test_not_skipping_overrides_a_file_that_skips(self, tmp_path: Path) -> None:
        context = self.context(tmp_path, {"insecure-skip-tls-verify": True}, insecure_skip_tls_verify=False)
        assert context.cluster["insecure-skip-tls-verify"] is False

    def test_an_authority_replaces_that_of_the_file(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.chdir(tmp_path)
        file = {"certificate-authority-data": PEM, "insecure-skip-tls-verify": False}
        context = self.context(tmp_path, file, certificate_authority="ca.crt")
        assert context.cluster == {"server": "https://one:6443", "certificate-authority": f"{tmp_path}/ca.crt"}

    def test_a_token_replaces_that_of_the_file(self, tmp_path: Path) -> None:
        context = self.context(tmp_path, user={"token": None, "tokenFile": "token"}, token="mine")
        assert context.user == {"token": "mine"}

    def test_a_client_certificate_replaces_that_of_the_file(self, tmp_path: Path) -> None:
        user = {"client-certificate-data": PEM, "client-key-data": PEM, "token": ""}
        context = self.context(tmp_path, user=user, client_certificate="/me.crt", client_key="/me.key")
        assert context.user == {"client-certificate": "/me.crt", "client-key": "/me.key"}

    def test_impersonation_is_merged_with_that_of_the_file(self, tmp_path: Path) -> None:
        user = {"as": "jane", "as-groups": ["a"], "as-user-extra": {"reason": ["b"]}, "token": None}
        context = self.context(tmp_path, user=user, as_user="joe", as_uid="7")
        assert context.user == {"as": "joe", "as-uid": "7", "as-groups": ["a"], "as-user-extra": {"reason": ["b"]}}

    def test_a_server_alone_needs_no_file(self) -> None:
        context = read_context(Connection(server="https://10.0.0.1:6443/", token="mine"))
        assert (context.server, context.namespace, context.user) == (
            "https://10.0.0.1:6443",
            "default",
            {"token": "mine"},
        )


@pytest.mark.parametrize(
    ("cluster", "url"),
    [
        ({"server": "one:6443"}, "http://one:6443"),
        ({"server": "one:6443", "certificate-authority-data": PEM}, "https://one:6443"),
        ({"server": "https://one/k8s/clusters/c-1/"}, "https://one/k8s/clusters/c-1"),
        ({"server": "https://[::1]:6443"}, "https://[::1]:6443"),
    ],
)
def test_a_server_is_a_url_or_a_host_with_a_port(tmp_path: Path, cluster: dict[str, str], url: str) -> None:
    file = kubeconfig(tmp_path / "config", "one", current="one", cluster=cluster)
    assert read_context(Connection(kubeconfig=str(file))).server == url


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "kubeconfig {} is empty"),
        ("[]", "kubeconfig {} does not have the structure of one"),
        ("just text", "kubeconfig {} does not have the structure of one"),
        ("clusters: [{}]", "kubeconfig {} does not have the structure of one"),
        ("clusters: [1]", "kubeconfig {} does not have the structure of one"),
        ("a: b: c", "kubeconfig {} is not YAML: mapping values are not allowed in this context in"),
        ("a: [1", "kubeconfig {} is not YAML: while parsing a flow sequence"),
        ("a: !python/object:os.system {}", "kubeconfig {} is not YAML: could not determine a constructor"),
        (b"\xff\xfe\xff", "kubeconfig {}: not text in UTF-8"),
        ("contexts: []", "no cluster to ask:"),
        ("contexts: [{name: a}]", "no current context is set"),
        ("current-context: a", 'context "a" does not exist'),
        ("contexts: [{name: a, context: [1]}]\ncurrent-context: a", 'kubeconfig {}: context "a": not a mapping'),
        ("contexts: [{name: a, context: {cluster: c}}]\ncurrent-context: a", 'cluster "c" does not exist'),
        (
            "contexts: [{name: a, context: {cluster: c}}]\ncurrent-context: a\nclusters: [{name: c}]",
            'no server found for context "a"',
        ),
        (
            "contexts: [{name: a, context: {cluster: c, user: u}}]\ncurrent-context: a\nclusters: [{name: c}]",
            'user "u" does not exist',
        ),
    ],
)
def test_a_broken_file_is_named_in_one_line(tmp_path: Path, content: str | bytes, message: str) -> None:
    file = tmp_path / "config"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert refusal(Connection(kubeconfig=str(file))).startswith(message.format(file))


def test_a_missing_file_a_folder_and_an_unreadable_file_are_named(tmp_path: Path) -> None:
    assert (
        refusal(Connection(kubeconfig=f"{tmp_path}/nope")) == f"kubeconfig {tmp_path}/nope: No such file or directory"
    )
    assert refusal(Connection(kubeconfig=str(tmp_path))) == f"kubeconfig {tmp_path}: Is a directory"


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_an_unreadable_file_is_named(tmp_path: Path) -> None:
    file = kubeconfig(tmp_path / "config", "one")
    file.chmod(0)
    assert refusal(Connection(kubeconfig=str(file))) == f"kubeconfig {file}: Permission denied"


@pytest.mark.parametrize(
    ("cluster", "user", "message"),
    [
        ({}, {"token": 12345}, 'kubeconfig {}: user "one": Expected `str`, got `int` - at `$.token`'),
        ({"server": ["x"]}, {}, 'kubeconfig {}: cluster "one": Expected `str`, got `array` - at `$.server`'),
        ({"server": "ftp://one"}, {}, "server ftp://one: not a URL of http or https"),
        ({"server": "https://one:port"}, {}, "server https://one:port: not a URL"),
        ({"server": "https://one..two"}, {}, "server https://one..two: not a URL"),
        ({"certificate-authority-data": "%%%"}, {}, 'certificate-authority-data of context "one" is not base64'),
        (
            {"certificate-authority-data": PEM, "insecure-skip-tls-verify": True},
            {},
            "specifying a root certificates file with the insecure flag is not allowed",
        ),
        ({}, {"username": "me", "password": "x"}, 'user "one" has a token and a password: only one of them is allowed'),
        ({}, {"as-groups": ["a"]}, "requesting a uid, groups or user-extra without impersonating a user"),
        (
            {},
            {"token": None, "auth-provider": {"name": "gcp"}},
            'user "one" has an auth-provider: kubectl itself dropped those of gcp and azure in 1.26',
        ),
    ],
)
def test_what_kubectl_refuses_is_refused(
    tmp_path: Path, cluster: dict[str, Any], user: dict[str, Any], message: str
) -> None:
    file = kubeconfig(tmp_path / "config", "one", current="one", cluster=cluster, user=user)
    assert refusal(Connection(kubeconfig=str(file))) == message.format(file)


def test_no_kubeconfig_and_no_pod_is_one_clear_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert refusal(Connection()) == "no cluster to ask: ~/.kube/config names none, and this is not a pod"
    monkeypatch.setenv("KUBECONFIG", f"{tmp_path}/nope")
    assert refusal(Connection()) == f"no cluster to ask: {tmp_path}/nope names none, and this is not a pod"


class TestPod:
    """The official code knows the folder of the service account by one fixed path; the folder is given here."""

    @pytest.fixture
    def account(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
        monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1")
        monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
        folder = tmp_path / "serviceaccount"
        folder.mkdir()
        for name in ("token", "ca.crt", "namespace"):
            (folder / name).write_text(f"{name} of the pod")
        (folder / "namespace").write_text("bank\n")
        return folder

    def test_the_service_account_is_used(self, account: Path) -> None:
        context = read_context(Connection(), account)
        assert context.cluster == {"server": "https://10.96.0.1:443", "certificate-authority": f"{account}/ca.crt"}
        assert (context.user, context.namespace) == ({"tokenFile": f"{account}/token"}, "bank")

    def test_options_override_it(self, account: Path) -> None:
        context = read_context(Connection(token="mine", as_user="jane"), account)
        assert context.user == {"token": "mine", "as": "jane"}

    def test_a_kubeconfig_comes_first(self, account: Path, tmp_path: Path) -> None:
        kubeconfig(tmp_path / "home" / ".kube" / "config", "home", current="home")
        assert read_context(Connection(), account).name == "home"

    def test_the_downward_api_names_the_namespace(self, account: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("POD_NAMESPACE", "shop")
        assert read_context(Connection(), account).namespace == "shop"

    def test_without_its_token_it_is_no_pod(self, account: Path) -> None:
        (account / "token").unlink()
        with pytest.raises(ToolError, match="this is not a pod"):
            read_context(Connection(), account)


def test_no_token_is_ever_shown() -> None:
    connection = Connection(server="https://one", token="s3cret")
    assert "s3cret" not in repr(connection)
    assert "s3cret" not in repr(read_context(connection))

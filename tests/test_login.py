"""Who we are to the API server: tokens, certificates, credential plugins, impersonation."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from meshtrust.cluster import Cluster, Connection
from meshtrust.errors import ToolError
from sandbox import Mesh
from sandbox.server import Server, serve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

EXEC = "client.authentication.k8s.io/v1"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serve(Mesh(now=datetime.now(UTC))) as server:
        yield server


@pytest.fixture
def login(server: Server, tmp_path: Path) -> Iterator[Callable[..., Cluster]]:
    """Log in with a `user` entry of a kubeconfig that stands in tmp_path, and options."""
    opened: list[Cluster] = []

    def login(user: dict[str, Any], **options: Any) -> Cluster:
        config = yaml.safe_load(server.kubeconfig.read_text())
        config["users"][0]["user"] = user
        path = tmp_path / "kubeconfig"
        path.write_text(yaml.safe_dump(config))
        opened.append(Cluster(Connection(kubeconfig=str(path), **options)))
        return opened[-1]

    yield login
    for cluster in opened:
        cluster.close()


def read(cluster: Cluster) -> int:
    return len(list(cluster.objects("Secret")))


def refusal(cluster: Cluster) -> ToolError:
    with pytest.raises(ToolError) as refused:
        read(cluster)
    assert refused.value.hint
    assert "\n" not in refused.value.message + refused.value.hint
    return refused.value


def script(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def credential(status: Any, **more: Any) -> str:
    return json.dumps({"apiVersion": EXEC, "kind": "ExecCredential", "status": status} | more)


def plugin(tmp_path: Path, text: str, **more: Any) -> dict[str, Any]:
    return {"exec": {"apiVersion": EXEC, "command": script(tmp_path / "plugin", text), **more}}


def test_a_token(server: Server, login: Callable[..., Cluster]) -> None:
    assert read(login({"token": f"{server.token}\n"})) > 0


def test_an_option_overrides_the_token(login: Callable[..., Cluster]) -> None:
    error = refusal(login({"token": "right"}, token="expired"))
    assert error.message == "You must be logged in to the server (Unauthorized)"
    assert error.hint.startswith('the credentials of user "tester" of context "sandbox" have expired')


def test_a_rotated_token_file_is_read_again(server: Server, login: Callable[..., Cluster], tmp_path: Path) -> None:
    (tmp_path / "token").write_text("expired")
    cluster = login({"tokenFile": "token"})
    refusal(cluster)
    (tmp_path / "token").write_text(f"{server.token}\n")
    assert read(cluster) > 0


def test_a_token_file_that_cannot_be_read_is_named(login: Callable[..., Cluster], tmp_path: Path) -> None:
    assert refusal(login({"tokenFile": "gone"})).message == f"token in {tmp_path}/gone: No such file or directory"


def test_a_token_that_is_no_header_is_not_printed(login: Callable[..., Cluster]) -> None:
    error = refusal(login({"token": "s3cret\nX-More: yes"}))
    assert error.message == "the token holds a line break or a control character"


def test_a_name_and_a_password(server: Server, login: Callable[..., Cluster]) -> None:
    refusal(login({"username": "me", "password": "geheim"}))
    said = server.requests[-1].headers["Authorization"]
    assert base64.b64decode(said.removeprefix("Basic ")) == b"me:geheim"


def test_a_client_certificate_in_files(server: Server, login: Callable[..., Cluster]) -> None:
    files = server.files
    read(login({"client-certificate": str(files.client_certificate), "client-key": str(files.client_key)}))
    assert server.requests[-1].user == "tester"


def test_a_client_certificate_by_options(server: Server, login: Callable[..., Cluster]) -> None:
    files = server.files
    read(login({}, client_certificate=str(files.client_certificate), client_key=str(files.client_key)))
    assert server.requests[-1].user == "tester"


class TestCertificateAsData:
    @pytest.fixture(autouse=True)
    def _temporary(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
        folder = tmp_path / "temporary"
        folder.mkdir()
        monkeypatch.setattr(tempfile, "tempdir", str(folder))
        yield
        assert list(folder.iterdir()) == []

    def data(self, *files: Path) -> dict[str, str]:
        names = ("client-certificate-data", "client-key-data")
        return {name: base64.b64encode(file.read_bytes()).decode() for name, file in zip(names, files, strict=True)}

    def test_leaves_no_file_behind(self, server: Server, login: Callable[..., Cluster]) -> None:
        read(login(self.data(server.files.client_certificate, server.files.client_key)))
        assert server.requests[-1].user == "tester"

    def test_with_another_key_leaves_no_file_behind(self, server: Server, login: Callable[..., Cluster]) -> None:
        error = refusal(login(self.data(server.files.client_certificate, server.files.key)))
        assert error.message == 'client certificate of user "tester" of context "sandbox": its key is another one'

    def test_that_is_none_leaves_no_file_behind(self, server: Server, login: Callable[..., Cluster]) -> None:
        error = refusal(login(self.data(server.kubeconfig, server.files.key)))
        assert error.message.endswith("not PEM, or its key is not")

    def test_of_a_plugin_leaves_no_file_behind(
        self, server: Server, login: Callable[..., Cluster], tmp_path: Path
    ) -> None:
        names = ("clientCertificateData", "clientKeyData")
        files = (server.files.client_certificate, server.files.client_key)
        status = {name: file.read_text() for name, file in zip(names, files, strict=True)}
        (tmp_path / "credential").write_text(credential(status))
        read(login(plugin(tmp_path, f"cat {tmp_path}/credential")))
        assert server.requests[-1].user == "tester"


def test_a_key_that_is_gone_is_named(server: Server, login: Callable[..., Cluster]) -> None:
    error = refusal(login({"client-certificate": str(server.files.client_certificate), "client-key": "/gone.key"}))
    assert error.message == 'context "sandbox": File does not exist: /gone.key'


def test_an_encrypted_key_does_not_ask_the_terminal(
    server: Server, login: Callable[..., Cluster], tmp_path: Path
) -> None:
    from cryptography.hazmat.primitives import serialization as to  # noqa: PLC0415 - for this one key

    key = to.load_pem_private_key(server.files.client_key.read_bytes(), None)
    (tmp_path / "key").write_bytes(
        key.private_bytes(to.Encoding.PEM, to.PrivateFormat.PKCS8, to.BestAvailableEncryption(b"x"))
    )
    error = refusal(login({"client-certificate": str(server.files.client_certificate), "client-key": "key"}))
    assert error.message.endswith("its key is encrypted")


class TestPlugin:
    def test_gives_a_token(self, server: Server, login: Callable[..., Cluster], tmp_path: Path) -> None:
        assert read(login(plugin(tmp_path, f"echo '{credential({'token': server.token})}'"))) > 0

    def test_is_told_arguments_variables_and_the_cluster(
        self, server: Server, login: Callable[..., Cluster], tmp_path: Path
    ) -> None:
        told = f'echo "$1 $MORE $KUBERNETES_EXEC_INFO" > {tmp_path}/told'
        user = plugin(
            tmp_path,
            f"{told}; echo '{credential({'token': server.token})}'",
            args=["--region=x"],
            env=[{"name": "MORE", "value": "more"}],
            provideClusterInfo=True,
        )
        read(login(user))
        argument, variable, told = (tmp_path / "told").read_text().split(maxsplit=2)
        cluster = json.loads(told)["spec"]["cluster"]
        assert (argument, variable, cluster["server"]) == ("--region=x", "more", server.url)
        assert base64.b64decode(cluster["certificate-authority-data"]) == server.files.authority.read_bytes()

    def test_beside_the_kubeconfig_is_found_from_everywhere(
        self, server: Server, login: Callable[..., Cluster], tmp_path: Path
    ) -> None:
        user = plugin(tmp_path, f"pwd > {tmp_path}/pwd; echo '{credential({'token': server.token})}'")
        user["exec"]["command"] = "./plugin"
        read(login(user))
        assert (tmp_path / "pwd").read_text().strip() == os.getcwd()  # noqa: PTH109 - the plugin's word for it

    @pytest.mark.parametrize(("minutes", "runs"), [(60, 1), (-1, 2)])
    def test_is_run_again_when_its_credential_has_expired(
        self, server: Server, login: Callable[..., Cluster], tmp_path: Path, minutes: int, runs: int
    ) -> None:
        until = (datetime.now(UTC) + timedelta(minutes=minutes)).strftime("%Y-%m-%dT%H:%M:%SZ")
        status = {"token": server.token, "expirationTimestamp": until}
        cluster = login(plugin(tmp_path, f"echo run >> {tmp_path}/runs; echo '{credential(status)}'"))
        read(cluster)
        read(cluster)
        assert len((tmp_path / "runs").read_text().split()) == runs

    def test_is_not_run_where_a_token_is_given(
        self, server: Server, login: Callable[..., Cluster], tmp_path: Path
    ) -> None:
        assert read(login(plugin(tmp_path, "exit 1"), token=server.token)) > 0

    def test_that_fails_is_an_error_and_not_a_stranger(
        self, server: Server, login: Callable[..., Cluster], tmp_path: Path
    ) -> None:
        before = len(server.requests)
        error = refusal(login(plugin(tmp_path, "echo trying >&2; echo 'the session has expired' >&2; exit 3")))
        name = f'credential plugin "{tmp_path}/plugin" of user "tester" of context "sandbox"'
        assert error.message == f"{name} failed: the session has expired"
        assert len(server.requests) == before

    def test_that_fails_without_a_word_tells_its_exit_code(self, login: Callable[..., Cluster], tmp_path: Path) -> None:
        assert refusal(login(plugin(tmp_path, "exit 3"))).message.endswith("failed: exec: process returned 3")

    def test_that_is_missing_gives_its_hint(self, login: Callable[..., Cluster]) -> None:
        entry = {"apiVersion": EXEC, "command": "no-such-plugin", "installHint": "get it\nfrom there\n"}
        error = refusal(login({"exec": entry}))
        assert error.message == 'credential plugin "no-such-plugin" of user "tester" of context "sandbox": not found'
        assert error.hint == "get it from there"

    def test_that_may_not_run_says_so(self, login: Callable[..., Cluster], tmp_path: Path) -> None:
        user = plugin(tmp_path, "")
        (tmp_path / "plugin").chmod(0o644)
        assert refusal(login(user)).message.endswith("Permission denied")

    @pytest.mark.parametrize(
        ("printed", "why"),
        [
            ("", "failed: exec: failed to decode process output: Expecting value: line 2 column 1 (char 1)"),
            ("hello", "failed: exec: failed to decode process output: Expecting value: line 1 column 1 (char 0)"),
            ("{}", "failed: exec: malformed response. missing key 'apiVersion'"),
            ("[]", "failed: exec: malformed response. missing key 'apiVersion'"),
            ("5", "did not print an ExecCredential"),
            (credential(None), "did not print an ExecCredential"),
            (credential("token"), "did not print an ExecCredential"),
            (credential({"token": "x", "expirationTimestamp": "soon"}), "did not print an ExecCredential"),
            (credential({}), "gave neither a token nor a certificate with its key"),
            (credential({"clientCertificateData": "x"}), "gave neither a token nor a certificate with its key"),
            (
                credential({"token": "x"}, apiVersion="v2"),
                f"failed: exec: plugin api version v2 does not match {EXEC}",
            ),
        ],
    )
    def test_that_prints_junk_is_refused(
        self, login: Callable[..., Cluster], tmp_path: Path, printed: str, why: str
    ) -> None:
        assert refusal(login(plugin(tmp_path, f"echo '{printed}'"))).message.endswith(f" {why}")

    def test_speaks_to_the_terminal_though_our_output_goes_elsewhere(
        self, server: Server, login: Callable[..., Cluster], tmp_path: Path
    ) -> None:
        login(plugin(tmp_path, f"echo 'open this page' >&2; echo '{credential({'token': server.token})}'"))
        code = """
import sys
from meshtrust.cluster import Cluster, Connection
with Cluster(Connection(kubeconfig=sys.argv[1])) as cluster: print(len(list(cluster.objects("Secret"))))
"""
        terminal, far_end = os.openpty()
        command = [sys.executable, "-c", code, str(tmp_path / "kubeconfig")]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=far_end, check=True, text=True)
        os.close(far_end)
        with open(terminal, "rb", buffering=0) as shown:  # noqa: PTH123 - it has no path
            assert shown.read(100) == b"open this page\r\n"
        assert int(done.stdout) > 0

    def test_that_is_not_described_is_refused(self, login: Callable[..., Cluster]) -> None:
        assert refusal(login({"exec": {"command": "aws"}})).message.endswith("missing key 'apiVersion'")


class TestImpersonation:
    def seen(self, server: Server) -> dict[str, list[str]]:
        headers = server.requests[-1].headers
        return {key: headers.getall(key) for key in headers if key.startswith("Impersonate-")}

    def test_by_options(self, server: Server, login: Callable[..., Cluster]) -> None:
        read(login({"token": server.token}, as_user="jürgen", as_groups=("a", "b, c"), as_uid="7"))
        assert self.seen(server) == {
            "Impersonate-User": ["jürgen"],
            "Impersonate-Uid": ["7"],
            "Impersonate-Group": ["a", "b, c"],
        }

    def test_by_kubeconfig(self, server: Server, login: Callable[..., Cluster]) -> None:
        extra = {"reason": ["one", "two"], "a/b c": ["three"]}
        user = {"token": server.token, "as": "jane", "as-uid": "7", "as-groups": ["a"], "as-user-extra": extra}
        read(login(user))
        assert self.seen(server) == {
            "Impersonate-User": ["jane"],
            "Impersonate-Uid": ["7"],
            "Impersonate-Group": ["a"],
            "Impersonate-Extra-reason": ["one", "two"],
            "Impersonate-Extra-a%2Fb%20c": ["three"],
        }


def test_the_real_client_can_be_imported_before_and_after(server: Server) -> None:
    code = """
import sys
if {before}: import kubernetes
from meshtrust.cluster import Cluster, Connection
with Cluster(Connection(kubeconfig=sys.argv[1])) as cluster: assert list(cluster.objects("Secret"))
assert {before} or not [name for name in sys.modules if name.startswith(("kubernetes", "oauthlib"))]
import kubernetes, multiprocessing, importlib.metadata, oauthlib.oauth2
client = kubernetes.config.new_client_from_config(sys.argv[1])
assert kubernetes.client.CoreV1Api(client).list_secret_for_all_namespaces().items
assert multiprocessing.Process and importlib.metadata.version("kubernetes")
with Cluster(Connection(kubeconfig=sys.argv[1])) as cluster: assert list(cluster.objects("Secret"))
"""
    for before in (True, False):
        done = subprocess.run(
            [sys.executable, "-c", code.format(before=before), server.kubeconfig],
            capture_output=True,
            check=False,
            text=True,
        )
        assert (done.returncode, done.stderr) == (0, "")

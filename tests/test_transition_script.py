"""The nine defects of `root-transition.sh`, the script of Istio's page: of each a promise that ours keeps."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from sandbox import Answer, Authority, Ca, Edit, Mesh, Namespace, Proxy, serve
from transitions import (
    CA,
    DEPLOYMENTS,
    ENDED,
    HOME,
    LEDGER,
    NEWER,
    NOW,
    OFF,
    OLD,
    SECRET,
    assert_whole,
    certificate,
    changed,
    environment,
    istiod,
    lively,
    restore,
    root,
    run,
    typed,
    writes,
)

if TYPE_CHECKING:
    from pathlib import Path

    from sandbox import Server

STRANGE = Ca(key="strange")


def told(server: Server, module: str, *args: str) -> tuple[int, dict[str, Any]]:
    done = typed(server, *args, "-o", "json", module=module)
    return done.returncode, json.loads(done.stdout)


def findings(said: dict[str, Any]) -> dict[str, str]:
    return {one["check"]: one["level"] for one in said["findings"]}


class TestVerifyCerts:
    """D1: from Istio 1.5 on it checked nothing, printed "All … match", and exited with 0."""

    def test_d1_of_what_is_checked_the_number_is_told_and_a_stale_copy_is_found(self) -> None:
        mesh = istiod(NEWER, namespaces=(Namespace("bank"), Namespace("shop", publishes=(STRANGE,))))
        with serve(mesh) as server:
            code, said = told(server, "istio_certverify", "--stored")
        assert (code, said["status"]) == (2, "critical")
        assert said["counts"]["checked"] > 0
        assert "ConfigMap shop/istio-ca-root-cert" in json.dumps(said["findings"])

    def test_d1_where_nothing_is_checked_nothing_is_fine(self) -> None:
        with serve(Mesh(now=NOW, era="none")) as server:
            assert typed(server, module="istio_certverify").returncode == 3
        with serve(istiod(NEWER, proxies=())) as server:
            code, said = told(server, "istio_certverify", "--live")
        assert (code, said["counts"]["checked"]) == (3, 0)


class TestFailure:
    """D2: where openssl failed it deleted the CA's Secret, made none, and told of success."""

    @pytest.mark.parametrize("key", ["", "-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----\n"])
    def test_d2_a_root_that_cannot_be_signed_leaves_the_secret_as_it_was(self, key: str) -> None:
        broken = Edit(kind="Secret", namespace=HOME, name=CA, patch={"stringData": {"ca-key.pem": key}})
        with lively(istiod(edits=(broken,))) as server:
            ended = run(server, accept_unseen=True)
            assert ended.code == 2, ended.words
            assert (writes(server), root(server)) == ([], certificate(OLD))
            assert len(server.history("Secret", HOME, CA)) == 1

    def test_d2_a_write_that_fails_leaves_it_as_it_was_and_the_rest_is_not_begun(self) -> None:
        with lively(istiod()) as server:
            server.faults.add(Answer(500, "etcdserver: no space"), method="PATCH", path=SECRET)
            done = typed(server, "transition", "--apply", "--yes")
            assert (done.returncode, "steps done" in done.stdout) == (3, False), done.stdout
            assert writes(server) == [SECRET]
            assert_whole(server)
            assert root(server) == certificate(OLD)


class TestSubject:
    """D3: its "same key" root had its subject in another string type, which Go peers refuse."""

    @pytest.mark.parametrize("string_type", ["printable", "utf8"])
    @pytest.mark.parametrize("identifier", ["sha1", "sha256", "none"])
    def test_d3_subject_octets_and_key_identifier_are_those_of_the_old_root(
        self, string_type: str, identifier: str
    ) -> None:
        old = replace(OLD, string_type=string_type, identifier=identifier)  # type: ignore[arg-type]  # of its words
        with lively(istiod(old)) as server:
            ended = run(server)
            assert ended.code == 0, ended.words
            new = root(server)
        was = certificate(old)
        assert new.subject.public_bytes() == was.subject.public_bytes()
        assert new.issuer.public_bytes() == was.issuer.public_bytes()
        assert [(one.oid, one.critical, one.value) for one in new.extensions] == [
            (one.oid, one.critical, one.value) for one in was.extensions
        ]


class TestRestart:
    """D4: it restarted `-l istio=citadel`, which no istiod is labelled with, and nothing was restarted."""

    def test_d4_what_signs_is_restarted_whatever_it_is_called(self) -> None:
        planes = (replace(OFF, revision="asm-1-29"), replace(OFF, revision="canary"))
        with lively(istiod(control_planes=planes)) as server:
            ended = run(server)
            assert ended.code == 0, ended.words
            restarted = [path for path in writes(server) if path.startswith(DEPLOYMENTS)]
            assert restarted == [f"{DEPLOYMENTS}/istiod-asm-1-29", f"{DEPLOYMENTS}/istiod-canary"]

    def test_d4_what_was_not_restarted_is_not_called_done(self) -> None:
        with lively(istiod()) as server:
            server.faults.add(Answer(500), method="PATCH", path=f"{DEPLOYMENTS}/*")
            ended = run(server)
            assert (ended.code, ended.states["restart"]) == (3, "not known"), ended.words


class TestWindow:
    """D5: it deleted and then created: an istiod that starts in between makes a new CA."""

    def test_d5_there_is_no_moment_without_a_ca_secret_and_it_is_never_another_object(self) -> None:
        with lively(istiod()) as server:
            assert run(server).code == 0
            assert restore(server).code == 0
            bodies = server.history("Secret", HOME, CA)
            assert None not in bodies
            made = {(one["metadata"].get("uid"), one["metadata"]["creationTimestamp"]) for one in bodies if one}
            assert len(made) == 1
            assert_whole(server)
            methods = {one.method for one in server.requests}
            assert methods == {"GET", "POST", "PATCH"}
            posted = {one.path.rpartition("/")[2] for one in server.requests if one.method == "POST"}
            assert posted == {"selfsubjectaccessreviews"}

    def test_d5_an_istiod_that_starts_at_any_moment_finds_the_same_key(self) -> None:
        with lively(istiod()) as server:
            again = {"spec": {"template": {"metadata": {"annotations": {"again": "yes"}}}}}
            server.on(lambda _: server.change("Deployment", HOME, "istiod", again), method="PATCH", path=SECRET)
            assert run(server).code == 0
            assert_whole(server)


class TestFiles:
    """D6: the private key lay in the working folder, for everybody to read; no dry run, no question, no way back."""

    def test_d6_no_file_is_written_by_plan_change_or_restore(self, tmp_path: Path) -> None:
        home = tmp_path / "home"
        home.mkdir()
        with lively(istiod()) as server:
            told = {**environment(server), "HOME": str(home), "TMPDIR": str(home)}
            for line in (["transition"], ["transition", "--apply", "--yes"], ["restore", "--apply", "--yes"]):
                assert typed(server, *line, env=told, cwd=home).returncode == 0
        assert list(tmp_path.rglob("*")) == [home]

    def test_d6_a_bare_command_writes_nothing_and_an_apply_without_a_yes_neither(self) -> None:
        with lively(changed()) as server:
            assert typed(server, "transition").returncode == 0
            assert typed(server, "restore").returncode == 0
            assert typed(server, "transition", "--apply").returncode == 64
            assert writes(server) == []
            assert len(server.history("Secret", HOME, CA)) == 1

    def test_d6_there_is_a_way_back_that_needs_nothing_from_a_laptop(self) -> None:
        with lively(istiod()) as server:
            run(server)
            assert restore(server).code == 0
            assert root(server) == certificate(OLD)


class TestCheckRoot:
    """D7: it exited with 0 for an expired root, and knew one Secret in one namespace."""

    def test_d7_an_expired_root_is_critical(self) -> None:
        with serve(istiod(ENDED)) as server:
            code, said = told(server, "istio_root", "expiry")
        assert (code, findings(said)["signer-valid"]) == (2, "critical")

    def test_d7_a_root_of_twenty_days_is_a_warning(self) -> None:
        with serve(istiod(OLD)) as server:
            assert typed(server, "expiry", "-q").returncode == 1

    def test_d7_cacerts_in_another_namespace_is_found(self) -> None:
        plugged = Authority(secret="cacerts", root=ENDED, chain=(Ca(key="issuing", subject="O=mesh"),))
        with serve(_elsewhere(plugged)) as server:
            code, said = told(server, "istio_root", "expiry")
        assert code == 2
        assert any("Secret aks-istio-system/cacerts" in row["place"] for row in said["rows"])


def _elsewhere(plugged: Authority) -> Mesh:
    return replace(istiod(home="aks-istio-system"), ca=plugged)


class TestCheckVersion:
    """D8: it knew five registries, no pod's name, no ztunnel or waypoint, and no exit code."""

    def test_d8_every_kind_of_proxy_of_any_registry_is_named_with_its_pod_and_version(self) -> None:
        proxies = (
            LEDGER,
            Proxy("old", "bank", version="1.9.2", image="registry.example.org:5000/mesh/proxyv2:1.9.2-distroless"),
            Proxy("way", "bank", "waypoint"),
            Proxy("ztunnel", HOME, "ztunnel"),
        )
        with serve(istiod(NEWER, proxies=proxies)) as server:
            code, said = told(server, "istio_proxyver", "--outdated-than", "1.20")
        rows = {row["pod"].split("-")[0]: (row["kind"], row["version"]) for row in said["rows"]}
        assert {name: rows[name] for name in ("ledger", "old", "way", "ztunnel")} == {
            "ledger": ("sidecar", "1.29.2"),
            "old": ("sidecar", "1.9.2"),
            "way": ("waypoint", "1.29.2"),
            "ztunnel": ("ztunnel", "1.29.2"),
        }
        assert code == 1


class TestTrustDomain:
    """D9: it cut the organization out of openssl's text: with more than one part of a name, another name."""

    @pytest.mark.parametrize("subject", ["O=cluster.local", "O=example.org,OU=mesh,CN=root of the mesh", "CN=a=b"])
    def test_d9_a_name_of_any_parts_is_kept_octet_for_octet(self, subject: str) -> None:
        old = replace(OLD, subject=subject)
        with lively(istiod(old)) as server:
            ended = run(server)
            assert ended.code == 0, ended.words
            assert root(server).subject.public_bytes() == certificate(old).subject.public_bytes()

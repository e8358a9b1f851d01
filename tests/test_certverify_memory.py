"""What proxies of all versions answer, and what is no answer of a proxy."""

from __future__ import annotations

import base64
import json
from textwrap import indent
from typing import TYPE_CHECKING, Any

import pytest

from meshes import NOW, ROOT, STRANGE
from meshtrust.errors import NotAllowed, Unreachable
from meshtrust.mesh import Memory, Proxy, ProxyKind, RevisionFrom, VersionFrom, read_memory
from meshtrust.objects import Ref
from sandbox import Leaf
from sandbox.issuing import ca_certificate, leaf_certificate, pem

if TYPE_CHECKING:
    from collections.abc import Mapping

    from meshtrust.source import Source

URI = "spiffe://cluster.local/ns/shop/sa/web"
ROOTS = pem([ca_certificate(STRANGE, NOW), ca_certificate(ROOT, NOW)])
LEAF = pem([leaf_certificate(Leaf(), ROOT, URI, NOW, era="istiod"), ca_certificate(ROOT, NOW)])


class Admin:
    """A source whose one proxy answers what it is told."""

    def __init__(self, **answers: Any) -> None:
        self._answers = answers

    def proxy_admin(self, pod: Ref, path: str, *, port: int, container: str) -> bytes:  # noqa: ARG002 - one is all
        answer = self._answers[path.partition("?")[0]]
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, bytes) else json.dumps(answer).encode()


def proxy(kind: ProxyKind = ProxyKind.SIDECAR) -> Proxy:
    pod = Ref("Pod", "shop", "web-1")
    return Proxy(
        ref=pod,
        kind=kind,
        container="istio-proxy",
        native=False,
        image="",
        version=None,
        version_from=VersionFrom.NOBODY,
        revision="",
        revision_from=RevisionFrom.NOBODY,
        owner=pod,
        idle="",
        ending=False,
        has_ip=True,
        account="web",
        admin_port=15000,
        node="",
        home="",
        signer="",
        mounted="",
        secures_control_plane=False,
        labels={},
    )


def held(kind: ProxyKind = ProxyKind.SIDECAR, **answers: Any) -> tuple[Memory, ...]:
    source: Source = Admin(**answers)  # type: ignore[assignment]  # of a source this is all that is asked
    return read_memory(source, proxy(kind))


def inline(text: str) -> dict[str, str]:
    return {"inline_bytes": base64.b64encode(text.encode()).decode()}


def secret(name: str, content: Mapping[str, Any] | None) -> dict[str, Any]:
    return {"name": name, "version_info": "1", "secret": content}


def bundle(text: str = ROOTS, name: str = "ROOTCA") -> dict[str, Any]:
    return secret(name, {"validation_context": {"trusted_ca": inline(text)}})


def leaf(text: str = LEAF, name: str = "default") -> dict[str, Any]:
    private = {"inline_bytes": "W3JlZGFjdGVkXQ=="}
    return secret(name, {"tls_certificate": {"certificate_chain": inline(text), "private_key": private}})


def dump(*active: Any, warming: tuple[Any, ...] = ()) -> dict[str, Any]:
    kind = "type.googleapis.com/envoy.admin.v3.SecretsConfigDump"
    return {"configs": [{"@type": kind, "dynamic_active_secrets": active, "dynamic_warming_secrets": warming}]}


def summary(memory: Memory) -> tuple[int, int, str, str]:
    return len(memory.roots), len(memory.chain), memory.identity, memory.absent


def test_every_block_of_the_bundle_and_the_chain_is_read() -> None:
    assert [summary(one) for one in held(config_dump=dump(leaf(), bundle()))] == [(2, 2, URI, "")]


def test_of_two_secrets_of_one_name_each_is_a_memory_and_twice_the_same_is_one() -> None:
    stale = bundle(pem([ca_certificate(STRANGE, NOW)]))
    for pair in (stale, bundle()), (bundle(), stale):
        (found,) = held(config_dump=dump(leaf(), *pair))
        assert sorted(len(one.roots) for one in (found, *found.others)) == [1, 2]
    assert held(config_dump=dump(leaf(), bundle(), bundle(), leaf())) == held(config_dump=dump(leaf(), bundle()))


def test_secrets_of_gateways_and_users_are_passed_by() -> None:
    (found,) = held(config_dump=dump(leaf(pem([ca_certificate(STRANGE, NOW)]), "kubernetes://shop"), leaf(), bundle()))
    assert summary(found) == (2, 2, URI, "")


def test_what_is_only_warming_is_not_delivered() -> None:
    (found,) = held(config_dump=dump(leaf(), warming=(secret("ROOTCA", None),)))
    assert found.absent == "not delivered (WARMING): the bundle"


def test_what_is_uninitialized_is_not_delivered() -> None:
    (found,) = held(
        config_dump=dump(secret("default", None), {**secret("ROOTCA", {}), "version_info": "uninitialized"})
    )
    assert found.absent == "not delivered: the bundle and the certificate"


@pytest.mark.parametrize("kind", ["default", "ROOTCA"])
def test_what_was_delivered_in_a_shape_that_is_not_known_is_unseen_and_not_missing(kind: str) -> None:
    others = {"default": leaf(), "ROOTCA": bundle(), kind: secret(kind, {"generic_secret": inline(LEAF)})}
    with pytest.raises(Unreachable, match="in a shape that is not known"):
        held(config_dump=dump(*others.values()))


def test_a_bundle_by_trust_domains_is_read_whole() -> None:
    domains = [{"name": "a", "trust_bundle": inline(ROOTS)}, {"name": "b", "trust_bundle": inline(LEAF)}]
    custom = {"custom_validator_config": {"name": "spiffe", "typed_config": {"trust_domains": domains}}}
    (found,) = held(config_dump=dump(leaf(), secret("ROOTCA", {"validation_context": custom})))
    assert len(found.roots) == 4


def test_a_line_of_the_agent_before_the_json_is_skipped() -> None:
    text = b"2026-11-24T08:00:00Z\twarn\tOS CA Cert could not be found for agent\n"
    (found,) = held(config_dump=text + json.dumps(dump(leaf(), bundle())).encode())
    assert summary(found) == (2, 2, URI, "")


def test_an_envoy_with_files_shows_serials_in_hex() -> None:
    shown = {"valid_from": "2026-11-24T08:00:00Z", "expiration_time": "2026-11-25T08:00:00Z", "path": "/etc/certs/x"}
    entry = {
        "ca_cert": [{**shown, "serial_number": "029ea624"}],
        "cert_chain": [{**shown, "serial_number": "0a", "subject_alt_names": [{"uri": URI}]}],
    }
    (found,) = held(config_dump={"configs": []}, certs={"certificates": [{"ca_cert": [], "cert_chain": []}, entry]})
    assert found.shown is not None
    assert [one.serial for one in found.shown if one] == [0x29EA624, 10]


def test_an_envoy_without_any_certificate_is_unseen_and_not_fine() -> None:
    with pytest.raises(Unreachable, match="does it speak mutual TLS"):
        held(config_dump={"configs": []}, certs={"certificates": []})


def one(text: str) -> dict[str, str]:
    return {"pem": base64.b64encode(text.encode()).decode(), "serialNumber": "7"}


LEAF_ALONE, ROOT_ALONE = (
    f"{block}-----END CERTIFICATE-----\n" for block in LEAF.split("-----END CERTIFICATE-----\n")[:2]
)


@pytest.mark.parametrize(
    "identity",
    [
        {"certChain": [one(LEAF_ALONE)], "rootCerts": [one(ROOT_ALONE)]},  # since 1.24.6
        {"certChain": [one(LEAF_ALONE), one(ROOT_ALONE)]},  # 1.22
        {"ca_cert": [one(LEAF_ALONE)], "cert_chain": [one(ROOT_ALONE)]},  # 1.18
    ],
)
def test_ztunnels_of_all_versions_tell_their_root(identity: dict[str, Any]) -> None:
    answer = {"certificates": [{"identity": URI, "state": "Available", **identity}]}
    assert [summary(found) for found in held(ProxyKind.ZTUNNEL, config_dump=answer)] == [(1, 1, URI, "")]


@pytest.mark.parametrize("state", ["Initializing", "Unavailable: no"])
def test_an_identity_without_a_certificate_says_why(state: str) -> None:
    answer = {"certificates": [{"identity": URI, "state": state, "certChain": [], "rootCerts": []}]}
    (found,) = held(ProxyKind.ZTUNNEL, config_dump=answer)
    assert found.absent.startswith(state)


@pytest.mark.parametrize("kind", [ProxyKind.SIDECAR, ProxyKind.ZTUNNEL])
@pytest.mark.parametrize(
    "answer", [b"", b"<html>", b"{}", b"[]", b"{", b'{"configs": 7}', b'{"certificates": {}}', b"\xff\xfe{\xff}"]
)
def test_what_is_no_answer_of_a_proxy_is_unseen(kind: ProxyKind, answer: bytes) -> None:
    with pytest.raises(Unreachable):
        held(kind, config_dump=answer)


def test_a_refusal_passes_through() -> None:
    with pytest.raises(NotAllowed):
        held(config_dump=NotAllowed("no"))


def test_a_bundle_that_its_envoy_cannot_find_is_broken_and_not_held() -> None:
    (found,) = held(config_dump=dump(leaf(), bundle(indent(ROOTS, "  "))))
    assert (found.roots, len(found.broken)) == ((), 2)
    assert "indented" in found.broken[0]


def test_broken_blocks_of_a_bundle_are_named() -> None:
    (found,) = held(
        config_dump=dump(leaf(), bundle(ROOTS + "-----BEGIN CERTIFICATE-----\nbm8=\n-----END CERTIFICATE-----\n"))
    )
    assert (len(found.roots), found.broken[0].startswith("bundle: block 3 of 3: ")) == (2, True)

"""What proxies answered, out of bug-reports and manifests."""

from __future__ import annotations

import io
import json
import tarfile
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from meshtrust.errors import Unreachable
from meshtrust.manifests import Recording
from meshtrust.objects import Ref, Unread

if TYPE_CHECKING:
    from pathlib import Path

    from manifests.conftest import Pack, Read
    from meshtrust.source import Source

LEDGER = Ref("Pod", "bank", "ledger")
CERTS = {"certificates": [{"ca_cert": [], "cert_chain": []}]}
RESOURCES = "cluster/k8s-resources"
POD = "apiVersion: v1\nkind: Pod\nmetadata: {name: ledger, namespace: bank}\n"


def asked(source: Source, path: str, pod: Ref = LEDGER) -> bytes:
    return source.proxy_admin(pod, path, port=15000, container="istio-proxy")


def answers(pages: Any, **metadata: str) -> dict[str, Any]:
    metadata = metadata or {"name": "ledger", "namespace": "bank"}
    return {"apiVersion": "meshtrust/v1", "kind": "ProxyAnswers", "metadata": metadata, "answers": pages}


@pytest.mark.parametrize("state", ["healthy", "ztunnel-healthy"])
def test_a_bug_report_answers_as_its_proxies_did(read: Read, recorded: Path, tmp_path: Path, state: str) -> None:
    report = recorded / f"{state}.bug-report.tar.gz"
    with tarfile.open(report) as archive:
        archive.extractall(tmp_path, filter="data")
    packed, unpacked = read(report.read_bytes()), Recording.read([str(tmp_path)], io.BytesIO())
    pages = {"certs", "config_dump", "config_dump?include_eds", "server_info"}
    files = [path for path in tmp_path.glob("*/proxies/*/*/*") if path.name in pages]
    assert len(files) >= 12
    for path in files:
        pod = Ref("Pod", path.parent.parent.name, path.parent.name)
        assert asked(packed, path.name, pod) == asked(unpacked, path.name, pod) == path.read_bytes()


def test_whatever_part_is_asked_for_the_whole_answer_is_given(read: Read, pack: Pack) -> None:
    report = read(pack({RESOURCES: POD, "proxies/bank/ledger/config_dump?include_eds": '{"configs": []}'}))
    for query in ("", "?mask=dynamic_active_secrets", "?resource=dynamic_active_secrets&name_regex=ROOTCA"):
        assert asked(report, f"config_dump{query}") == b'{"configs": []}'


def test_an_istiod_tells_of_its_proxies(read: Read, pack: Pack) -> None:
    report = read(pack({RESOURCES: POD, "bug-report/istio/istio-system/istiod-1/debug/syncz": "[]"}))
    assert asked(report, "debug/syncz", Ref("Pod", "istio-system", "istiod-1")) == b"[]"


def test_a_name_without_a_question_mark_is_the_same_page(read: Read, pack: Pack) -> None:
    report = read(pack({RESOURCES: POD, "proxies/bank/ledger/config_dump_include_eds": "{}"}))
    assert asked(report, "config_dump") == b"{}"


def test_nothing_else_of_a_bug_report_is_kept(read: Read, pack: Pack) -> None:
    pages = ("certs.bak", "clusters", "istio-proxy.log", "stats/prometheus", "more/certs")
    report = read(pack({RESOURCES: POD} | {f"proxies/bank/ledger/{page}": "{}" for page in pages} | {"certs": "{}"}))
    assert report.answers == {}


@pytest.mark.parametrize("pod", [LEDGER, Ref("Pod", "shop", "ledger"), Ref("Pod", "bank", "web")])
def test_what_was_not_recorded_is_unseen(read: Read, pod: Ref) -> None:
    recording = read(json.dumps(answers({"config_dump": {}})))
    with pytest.raises(Unreachable) as refused:
        asked(recording, "certs?x", pod)
    assert refused.value.message == "certs of this proxy is not in the recording"
    assert refused.value.hint


@pytest.mark.parametrize("write", [json.dumps, yaml.safe_dump])
def test_a_manifest_holds_answers_beside_objects(read: Read, write: Any) -> None:
    items = [yaml.safe_load(POD), answers({"certs": CERTS, "config_dump": "upstream connect error"})]
    recording = read(write({"apiVersion": "v1", "kind": "List", "items": items}))
    assert json.loads(asked(recording, "certs")) == CERTS
    assert asked(recording, "config_dump") == b"upstream connect error"
    assert [held.item.ref for held in recording.held] == [LEDGER]
    assert recording.unread == ()


def test_an_answer_that_comes_again_replaces_the_one_before_it(read: Read) -> None:
    first, second = answers({"certs": {}, "server_info": {}}), answers({"certs": CERTS})
    recording = read(json.dumps(first), json.dumps(second))
    assert json.loads(asked(recording, "certs")) == CERTS
    assert asked(recording, "server_info") == b"{}"


def test_answers_in_no_namespace_are_those_of_default(read: Read) -> None:
    recording = read(json.dumps(answers({"certs": CERTS}, name="ledger")))
    assert json.loads(asked(recording, "certs", Ref("Pod", "default", "ledger"))) == CERTS


@pytest.mark.parametrize("item", [answers({}, namespace="bank"), answers([]), answers({"certs": {}}) | {"metadata": 1}])
def test_answers_of_another_shape_are_named(read: Read, item: Any) -> None:
    (unread,) = read(POD, json.dumps(item)).unread
    assert isinstance(unread, Unread)
    assert unread.why.startswith("holds ProxyAnswers not as it should be: ")


def test_another_api_of_that_name_is_not_ours(read: Read) -> None:
    other = answers({"certs": {}}) | {"apiVersion": "example.com/v1"}
    assert read(POD, json.dumps(other)).answers == {}


def test_answers_in_a_folder_are_found(tmp_path: Path) -> None:
    (tmp_path / "answers.json").write_text(json.dumps(answers({"certs": CERTS})))
    recording = Recording.read([str(tmp_path)], io.BytesIO())
    assert json.loads(asked(recording, "certs")) == CERTS


def test_a_key_in_an_answer_is_exposed(read: Read, key: bytes) -> None:
    (exposed,) = read(json.dumps(answers({"config_dump": {"private_key": key.decode()}}))).exposed
    assert exposed.kind == "File"

"""What a recording answers: the same as a server would."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
import yaml

from meshtrust.errors import ToolError
from meshtrust.manifests import Recording
from meshtrust.objects import KINDS, KubeObject, Ref, Unread

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from manifests.conftest import Pack, Read, Secret
    from meshtrust.source import Source

STATES = (
    "healthy",
    "extended-mixed",
    "renewed-other-ski",
    "ztunnel-healthy",
    "ztunnel-one-identity-renewed",
    "ztunnel-one-identity-unavailable",
)
CITADELS = ("citadel-healthy", "citadel-partly-reloaded")


class _Strings(yaml.CSafeLoader):
    """PyYAML as it is, but for times."""


_Strings.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in types if tag != "tag:yaml.org,2002:timestamp"]
    for first, types in yaml.CSafeLoader.yaml_implicit_resolvers.items()
}


def served(texts: list[bytes]) -> dict[str, list[KubeObject]]:
    """Every object of the texts as it comes from a server: decoded from JSON, straight into its shape."""
    held: dict[Ref, KubeObject] = {}  # two of the recorded lists name some objects twice
    for text in texts:
        for item in yaml.load(text, Loader=_Strings)["items"]:  # noqa: S506 - a safe one, see above
            if kind := KINDS.get(item["kind"]):
                views = (v.shape for v in KINDS.values() if v.of == kind.name and v.typed == item.get("type"))
                body: Any = msgspec.json.decode(json.dumps(item), type=next(views, kind.shape))
                ref = Ref(kind.name, body["metadata"].get("namespace", ""), body["metadata"]["name"])
                held[ref] = KubeObject(ref, body)
    ordered = [held[ref] for ref in sorted(held)]
    return {
        name: [
            one
            for one in ordered
            if one.ref.kind == (kind.of or name) and (not kind.typed or one.body.get("type") == kind.typed)
        ]
        for name, kind in KINDS.items()
    }


def answered(source: Source) -> dict[str, list[KubeObject | Unread]]:
    return {kind: list(source.objects(kind)) for kind in KINDS}


def manifests_of(archive: Path) -> Iterator[bytes]:
    with tarfile.open(archive) as opened:
        for name in ("k8s-resources", "k8s-cluster-resources"):
            if stream := opened.extractfile(f"bug-report/cluster/{name}"):
                yield stream.read()


@pytest.mark.parametrize("state", STATES)
def test_a_bug_report_with_its_secrets_gives_what_the_server_gave(recorded: Path, state: str) -> None:
    archive, secrets = recorded / f"{state}.bug-report.tar.gz", recorded / f"{state}.secrets.yaml"
    recording = Recording.read([str(archive), str(secrets)], io.BytesIO())
    assert answered(recording) == served([*manifests_of(archive), secrets.read_bytes()])
    assert (recording.unread, recording.exposed) == ((), ())


@pytest.mark.parametrize("state", CITADELS)
def test_a_list_of_everything_gives_what_the_server_gave(recorded: Path, state: str) -> None:
    path = recorded / f"{state}.yaml"
    recording = Recording.read([str(path)], io.BytesIO())
    assert answered(recording) == served([path.read_bytes()])
    assert (recording.unread, recording.exposed, recording.taken_at) == ((), (), None)


def test_every_form_of_the_same_mesh_gives_the_same_objects(recorded: Path, read: Read, pack: Pack) -> None:
    text = (recorded / "citadel-healthy.yaml").read_bytes()
    items = yaml.load(text, Loader=_Strings)["items"]  # noqa: S506 - a safe one, see above
    listed = {"apiVersion": "v1", "kind": "List", "items": items}
    forms: dict[str, bytes | str] = {
        "JSON": json.dumps(listed),
        "an array": json.dumps(items),
        "indented JSON": json.dumps(listed, indent=4),
        "JSON in a row": "".join(json.dumps(item) for item in items),
        "a JSON a line": "\n".join(json.dumps(item) for item in items),
        "YAML documents": yaml.safe_dump_all(items),
        "Lists in Lists": json.dumps({"kind": "List", "items": [{"kind": "List", "items": [listed]}, listed]}),
        "gzip": gzip.compress(text),
        "an archive of manifests": pack({"dump/all.yaml": text}),
    }
    assert {form: read(content).held for form, content in forms.items()} == dict.fromkeys(forms, read(text).held)


def test_the_items_of_a_typed_list_need_not_say_their_kind(read: Read) -> None:
    recording = read('{"kind": "SecretList", "apiVersion": "v1", "items": [{"metadata": {"name": "a"}}]}')
    assert [found.ref for found in recording.objects("Secret")] == [Ref("Secret", "default", "a")]


def test_objects_are_narrowed_as_a_server_narrows_them(recorded: Path) -> None:
    recording = Recording.read([str(recorded / "healthy.bug-report.tar.gz")], io.BytesIO())
    roots = [str(found.ref) for found in recording.objects("ConfigMap", name="istio-ca-root-cert")]
    namespaces = ("bank", "default", "istio-system", "kube-system", "plain", "shop")
    assert roots == [f"ConfigMap {namespace}/istio-ca-root-cert" for namespace in namespaces]
    signers = [found.ref.name for found in recording.objects("Pod", namespace="istio-system", labels={"app": "istiod"})]
    assert signers == ["istiod-74bc5fcd6c-sdd84"]
    assert not list(recording.objects("Pod", namespace="nowhere"))
    assert not list(recording.objects("Pod", labels={"app": "istiod", "istio": "egress"}))
    assert not list(recording.objects("Service"))


def test_a_recording_knows_of_the_kinds_that_it_holds(recorded: Path) -> None:
    recording = Recording.read([str(recorded / "healthy.bug-report.tar.gz")], io.BytesIO())
    assert {kind for kind in KINDS if recording.holds(kind)} == {
        "ConfigMap",
        "Pod",
        "Namespace",
        "Deployment",
        "MutatingWebhookConfiguration",
        "ValidatingWebhookConfiguration",
    }
    assert (recording.recorded, recording.clock_skew) == (True, None)


def test_an_object_given_twice_counts_as_it_was_given_last(read: Read, secret: Secret) -> None:
    first, second = secret(cert="b25l"), secret(cert="dHdv")

    def cert(*contents: str) -> list[Any]:
        return [
            found.body["data"]["cert"] for found in read(*contents).objects("Secret") if isinstance(found, KubeObject)
        ]

    assert (cert(first, second), cert(second, first), cert(first, first)) == (["dHdv"], ["b25l"], ["b25l"])


def test_versions_count_by_their_group(read: Read) -> None:
    versions = {
        "Deployment": ("apps/v1", "apps/v1beta2", "extensions/v1beta1", "serving.knative.dev/v1"),
        "ClusterTrustBundle": ("certificates.k8s.io/v1alpha1", "certificates.k8s.io/v1", "v1"),
        "Secret": ("v1", "secrets.example.com/v1"),
    }
    recording = read(
        "\n---\n".join(
            f"apiVersion: {version}\nkind: {kind}\nmetadata: {{name: {version.replace('/', '-').lower()}}}"
            for kind, listed in versions.items()
            for version in listed
        )
    )
    assert {kind: [str(found.ref) for found in recording.objects(kind)] for kind in versions} == {
        "Deployment": [f"Deployment default/{name}" for name in ("apps-v1", "apps-v1beta2", "extensions-v1beta1")],
        "ClusterTrustBundle": [f"ClusterTrustBundle certificates.k8s.io-{name}" for name in ("v1", "v1alpha1")],
        "Secret": ["Secret default/v1"],
    }


def test_string_data_counts_as_data(read: Read) -> None:
    recording = read(
        "apiVersion: v1\nkind: Secret\nmetadata: {name: cacerts}\ndata: {a: b25l, b: b25l}\nstringData: {b: two}\n"
    )
    assert [found.body for found in recording.objects("Secret") if isinstance(found, KubeObject)] == [
        {"metadata": {"name": "cacerts", "namespace": "default"}, "data": {"a": "b25l", "b": "dHdv"}}
    ]


@pytest.mark.parametrize("data", ["[1]", "text", "{a: 1}", "{a: [b]}"])
@pytest.mark.parametrize("key", ["data", "stringData"])
def test_a_secret_whose_data_is_something_else_is_unread(read: Read, key: str, data: str) -> None:
    other = {"data": "stringData", "stringData": "data"}[key]
    text = f"apiVersion: v1\nkind: Secret\nmetadata: {{name: cacerts}}\n{key}: {data}\n{other}: {{b: b25l}}\n"
    assert [type(found) for found in read(text).objects("Secret")] == [Unread]


def test_an_object_of_a_wrong_shape_is_unread_and_the_others_are_not(read: Read, secret: Secret) -> None:
    broken = "apiVersion: v1\nkind: Secret\nmetadata: {name: broken, labels: {a: b}}\ndata: [1]\n"
    recording = read(f"{broken}---\n{secret('whole')}")
    why = "not as Kubernetes writes it: Expected `object | null`, got `array` - at `$.data`"
    assert list(recording.objects("Secret", namespace="default")) == [Unread(Ref("Secret", "default", "broken"), why)]
    assert len(list(recording.objects("Secret"))) == 2
    assert not list(recording.objects("Secret", namespace="default", labels={"a": "c"}))


@pytest.mark.parametrize("metadata", ["null", "[]", "{}", "{name: null}", "{name: 5}", "{name: a, namespace: 5}"])
def test_an_object_without_a_name_is_a_fault_of_its_file(read: Read, tmp_path: Path, metadata: str) -> None:
    recording = read(f"apiVersion: v1\nkind: Secret\nmetadata: {metadata}\n")
    why = "holds a Secret without a name, or in no namespace"
    assert recording.unread == (Unread(Ref("File", "", str(tmp_path / "given-0")), why),)


def test_labels_that_cannot_be_told_could_be_any(read: Read) -> None:
    recording = read("apiVersion: v1\nkind: Pod\nmetadata: {name: istiod, labels: [app]}\n")
    assert [found.ref for found in recording.objects("Pod", labels={"app": "istiod"})] == [
        Ref("Pod", "default", "istiod")
    ]


def test_an_empty_list_is_an_answer(read: Read) -> None:
    assert not read('{"apiVersion": "v1", "kind": "List", "items": []}').holds("Secret")


@pytest.mark.parametrize(
    "text", ["null\n", "---\n---\n", "# nothing\n", "hello\n", "NAME  AGE\ncacerts  5d\n", "a: 1\n"]
)
def test_a_named_file_without_an_object_is_an_error(read: Read, text: str) -> None:
    with pytest.raises(ToolError, match="given-0: holds no object of Kubernetes that tells of a mesh"):
        read(text)

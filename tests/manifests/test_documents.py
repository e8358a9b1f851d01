"""YAML and JSON as people have them, and what is said of those that are neither."""

from __future__ import annotations

import codecs
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from meshtrust.errors import ToolError
from meshtrust.manifests.composing import compose
from meshtrust.manifests.documents import documents, plain
from meshtrust.objects import KubeObject

if TYPE_CHECKING:
    from pathlib import Path

    from manifests.conftest import Read, Secret

POD = """apiVersion: v1
kind: Pod
metadata:
  name: größe
  creationTimestamp: 2026-11-24T06:24:33Z
  labels: &labels {istio.io/rev: canary}
  annotations: *labels
spec:
  containers:
    - {name: discovery, image: "pilot:1.31.0", args: [1.31.0, '5', "true", 2026-11-24, 06:24:33Z]}
"""


def bodies(read: Read, content: bytes | str, kind: str) -> list[Any]:
    return [found.body for found in read(content).objects(kind) if isinstance(found, KubeObject)]


def test_a_time_stays_text_as_json_has_it(read: Read) -> None:
    assert bodies(read, POD, "Pod") == [
        {
            "metadata": {
                "name": "größe",
                "namespace": "default",
                "creationTimestamp": "2026-11-24T06:24:33Z",
                "labels": {"istio.io/rev": "canary"},
                "annotations": {"istio.io/rev": "canary"},
            },
            "spec": {
                "containers": [
                    {
                        "name": "discovery",
                        "image": "pilot:1.31.0",
                        "args": ["1.31.0", "5", "true", "2026-11-24", "06:24:33Z"],
                    }
                ]
            },
        }
    ]


@pytest.mark.parametrize(
    ("mark", "encoding"),
    [
        (codecs.BOM_UTF8, "utf-8"),
        (codecs.BOM_UTF16_LE, "utf-16-le"),
        (codecs.BOM_UTF16_BE, "utf-16-be"),
        (codecs.BOM_UTF32_LE, "utf-32-le"),
        (codecs.BOM_UTF32_BE, "utf-32-be"),
    ],
)
def test_what_powershell_redirects_is_read(read: Read, mark: bytes, encoding: str) -> None:
    redirected = mark + POD.replace("\n", "\r\n").encode(encoding)
    assert read(redirected).held == read(POD).held


def test_values_are_what_pyyaml_says_they_are_but_for_times(recorded: Path) -> None:
    text = b"""
plain: [~, null, Null, '', yes, no, On, off, true, False, 1, -1, 0x1f, 010, 1_000, 1.5, .5, .inf, 1e3, 1.31.0, a]
quoted: ['~', "yes", '1', "1.5"]
tagged: [!!str 1, !!int "1", !!float "1", !!bool "yes", !!null "", ! 1, !!seq [], !!map {}]
folded: >-
  a
  b
block: |
  a
  b
empty:
"""
    assert compose(text) == [yaml.safe_load(text)]
    secrets = (recorded / "healthy.secrets.yaml").read_bytes()
    assert compose(secrets) == list(yaml.load_all(secrets, Loader=yaml.BaseLoader))


def test_keys_are_text_whatever_they_look_like() -> None:
    assert compose(b"{8080: a, yes: b, ~: c, 2026-11-24: d, '<<': e}") == [
        {"8080": "a", "yes": "b", "~": "c", "2026-11-24": "d", "<<": "e"}
    ]


def test_json_takes_the_last_of_two_equal_keys_as_kubectl_does() -> None:
    assert documents(b'{"kind": "Pod", "kind": "Secret"}') == [{"kind": "Secret"}]


def test_what_kubectl_calls_kyaml_is_yaml() -> None:
    assert documents(b'---\n{\n  apiVersion: "v1",\n  items: [{\n    kind: "Secret",\n  }],\n}\n') == [
        {"apiVersion": "v1", "items": [{"kind": "Secret"}]}
    ]


TAG = "is not one that Kubernetes knows"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"", "is empty"),
        (b" \n\t\n", "is empty"),
        (b"\x89PNG\r\n\x1a\n\0\0", "is a binary file"),
        (b"kind: Secret\nname: caf\xe9\n", "line 2, column 10: not UTF-8 text"),
        (codecs.BOM_UTF16_LE + b"a", "byte 0: not UTF-16-LE text"),
        (b"kind: Sec\x1b[2Jret\n", "line 1, column 10: a control character"),
        (b"kind: Secret\nmetadata:\n\tname: a\n", "line 3, column 1: a tab indents it, YAML takes only spaces"),
        (b"kind: Secret\nmetadata:\n  \tname: a\n", "line 3, column 3: a tab indents it, YAML takes only spaces"),
        (b"kind: Secret\nmetadata: [a\n", "line 3, column 1: did not find expected ',' or ']'"),
        (b"kind: Secret\n  name: a\n", "line 2, column 7: mapping values are not allowed in this context"),
        (b"kind: Secret\nkind: Pod\n", "line 2, column 1: a key that is there twice"),
        (b"a: {b: 1, b: 2}\n", "line 1, column 11: a key that is there twice"),
        (b"? [a]\n: b\n", "line 1, column 3: a key that is no string"),
        (b"a: &a {b: 1}\nc: {<<: *a}\n", "line 2, column 5: merge keys (<<) are not read"),
        (b"a: *a\n", "line 1, column 4: an alias without its anchor"),
        (b"a: &a\n  b: *a\n", "line 2, column 6: an alias of what it stands in"),
        (b"a: &a [b]\n*a : c\n", "line 2, column 1: a key that is no string"),
        (b"a: !!python/object:os.system ls\n", f"line 1, column 4: the tag '!!python/object:os.system' {TAG}"),
        (b"a: !!python/name:os.system []\n", f"line 1, column 4: the tag '!!python/name:os.system' {TAG}"),
        (b"a: !Ref b\n", f"line 1, column 4: the tag '!Ref' {TAG}"),
        (b"a: !!binary aGk=\n", f"line 1, column 4: the tag '!!binary' {TAG}"),
        (b"a: !!bool maybe\n", "line 1, column 4: not of the type bool"),
        (b"a: !!int x\n", "line 1, column 4: not of the type int"),
        (b"a: " + b"9" * 5000, "line 1, column 4: not of the type int"),
        (b"[" * 100_000, "line 1, column 501: is nested too deeply"),
        (b"- " * 100_000, "line 1, column 1001: is nested too deeply"),
        (b'{"a":' * 100_000, "is nested too deeply"),
        (b'{"kind": "Secret",\n "data":', "line 2, column 9: Expecting value"),
        (b'{"kind": "Secret"}\n{"kind": }\n', "line 2, column 10: Expecting value"),
        (b'{"kind": "Secret", "a": NaN}', "not JSON: JSON is malformed: invalid character (byte 24)"),
        (b'{"a": ' + b"9" * 5000 + b"}}", "is nested too deeply, or holds too long a number"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_named_with_its_place_in_one_line(
    read: Read, tmp_path: Path, text: bytes, why: str
) -> None:
    with pytest.raises(ToolError) as refused:
        read(text)
    assert refused.value.message == f"{tmp_path}/given-0: {why}"
    assert refused.value.hint.startswith("expected the output of kubectl get -o yaml")


@pytest.mark.parametrize(
    "bomb",
    [
        b"a: &a [l, l, l, l, l, l, l, l, l, l]\n"
        + b"".join(b"%c: &%c [%s]\n" % (at + 1, at + 1, b",".join([b"*%c" % at] * 10)) for at in range(97, 121)),
        b"a: &a [" + b"1," * 10_000 + b"]\nb: [" + b"*a," * 10_000 + b"]\n",
        b"- &a0 x\n" + b"".join(b"- &a%d [*a%d]\n" % (at, at - 1) for at in range(1, 10_000)),
    ],
    ids=["laughs", "wide", "deep"],
)
def test_aliases_that_multiply_are_refused_before_anything_walks_them(read: Read, bomb: bytes) -> None:
    with pytest.raises(ToolError, match="aliases multiply it to more than 1,000,000 values"):
        read(bomb)


def test_a_secret_of_ten_megabytes_is_read(read: Read, secret: Secret) -> None:
    large = "QUJD" * (10 << 18)
    forms = (secret(blob=large), f"apiVersion: v1\nkind: Secret\nmetadata: {{name: a}}\ndata:\n  blob: {large}\n")
    assert [bodies(read, form, "Secret")[0]["data"] == {"blob": large} for form in forms] == [True, True]


def test_an_error_never_shows_what_stands_in_the_file(read: Read, key: bytes) -> None:
    broken = f"kind: Secret\nstringData:\n  ca-key.pem: {key.decode()}"
    with pytest.raises(ToolError) as refused:
        read(broken)
    told = f"{refused.getrepr(style='long', chain=True)}{refused.value.message}{refused.value.hint}"
    body = key.decode().splitlines()[1:-1]
    assert not [line for line in body if line in told]


def test_plain_text_is_not_copied() -> None:
    text = b"kind: Secret\n"
    assert plain(text) is text

"""What a description may say, in Python and in YAML, and how a wrong one is told."""

from __future__ import annotations

import textwrap
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
import yaml

from described import BANK, ISSUING, NOW, STRANGE, ca_secret, objects
from sandbox import (
    Account,
    Authority,
    Ca,
    ControlPlane,
    DescriptionError,
    Edit,
    Identity,
    Leaf,
    Mesh,
    Namespace,
    Proxy,
    parse_mesh,
    read_mesh,
)
from sandbox import mesh as describing

if TYPE_CHECKING:
    from pathlib import Path


def test_edits_break_what_they_name() -> None:
    edits = (
        Edit(
            kind="Secret",
            namespace="istio-system",
            name="istio-ca-secret",
            patch={"stringData": {"ca-cert.pem": "no PEM"}},
        ),
        Edit(kind="ConfigMap", namespace="bank", name="istio-ca-root-cert"),
        Edit(kind="Secret", namespace="bank", name="new", patch={"type": "Opaque", "data": None}),
    )
    mesh = Mesh(now=NOW, namespaces=(BANK,), edits=edits)
    assert ca_secret(mesh)["ca-cert.pem"] == "no PEM"
    assert "bank/istio-ca-root-cert" not in objects(mesh, "ConfigMap")
    assert objects(mesh, "Secret")["bank/new"]["type"] == "Opaque"


def test_a_dump_holds_the_objects(tmp_path: Path) -> None:
    mesh = Mesh(now=NOW, namespaces=(BANK,), proxies=(Proxy("ledger", "bank"),))
    dumped = yaml.safe_load(mesh.dump(tmp_path / "mesh.yaml").read_text())
    assert (dumped["kind"], dumped["items"]) == ("List", mesh.objects())


DESCRIPTION = """
now: 2026-11-24T08:00:00Z
version: 1.29.2
certificates:
  root: {starts: -345d, ends: 20d}
  strange: {key: strange, key_type: ec}
  issuing: {key: issuing, key_type: ec, subject: "O=Example,CN=mesh", signed_by: root}
ca: {secret: cacerts, root: root, chain: [issuing], more_roots: [strange], crl_ends: 36h}
beside: [{created: -1h}]
control_planes:
  - {revision: canary, env: {ENABLE_CA_SERVER: "false", EXTERNAL_CA: {configMapKeyRef: {name: a, key: b}}}, replicas: 0}
namespaces:
  - bank
  - {name: shop, labels: {team: shop}, publishes: [strange, root], accounts: [default, {name: web, holds: []}]}
  - {name: bare, publishes: []}
proxies:
  - {name: ledger, namespace: bank, holds: [strange], leaf: {issued: -90m, ends: 2w, signed_by: strange}}
  - name: ztunnel
    namespace: istio-system
    kind: ztunnel
    identities: [{account: a, namespace: bank, state: Initializing}]
edits:
  - {kind: Secret, namespace: bank, name: x}
  - {kind: Secret, namespace: bank, name: y, patch: {stringData: {a: b}}}
"""


def test_yaml_says_what_python_says(tmp_path: Path) -> None:
    root = Ca(starts=timedelta(days=-345), ends=timedelta(days=20))
    issuing = replace(ISSUING, signed_by=root)
    described = Mesh(
        now=NOW,
        ca=Authority(
            secret="cacerts", root=root, chain=(issuing,), more_roots=(STRANGE,), crl_ends=timedelta(hours=36)
        ),
        beside=(Authority(created=timedelta(hours=-1)),),
        control_planes=(
            ControlPlane(
                revision="canary",
                env={"ENABLE_CA_SERVER": "false", "EXTERNAL_CA": {"configMapKeyRef": {"name": "a", "key": "b"}}},
                replicas=0,
            ),
        ),
        namespaces=(
            BANK,
            Namespace(
                "shop",
                labels={"team": "shop"},
                publishes=(STRANGE, root),
                accounts=(Account("default"), Account("web", holds=())),
            ),
            Namespace("bare", publishes=()),
        ),
        proxies=(
            Proxy(
                "ledger",
                "bank",
                holds=(STRANGE,),
                leaf=Leaf(issued=timedelta(minutes=-90), ends=timedelta(weeks=2), signed_by=STRANGE),
            ),
            Proxy("ztunnel", "istio-system", "ztunnel", identities=(Identity("a", "bank", state="Initializing"),)),
        ),
        edits=(
            Edit(kind="Secret", namespace="bank", name="x"),
            Edit(kind="Secret", namespace="bank", name="y", patch={"stringData": {"a": "b"}}),
        ),
    )
    path = tmp_path / "mesh.yaml"
    path.write_text(DESCRIPTION)
    assert read_mesh(path) == described


def test_the_example_of_the_docstring_is_one() -> None:
    _, _, rest = (describing.__doc__ or "").partition("another root:\n\n")
    mesh = parse_mesh(textwrap.dedent(rest.partition("\n\n")[0]))
    assert mesh.ca.root == replace(Ca(), starts=timedelta(days=-345), ends=timedelta(days=20))
    assert objects(mesh, "ConfigMap")["shop/istio-ca-root-cert"]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[]", "description: expected a mapping"),
        ("{colour: blue}", "description: Mesh has no 'colour'"),
        ("{namespaces: bank}", "description.namespaces: expected a list"),
        ("{namespaces: [{publishes: [nobody], name: a}]}", "publishes[0]: no certificate is named 'nobody'"),
        (
            "{namespaces: [{}]}",
            "description.namespaces[0]: Namespace.__init__() missing 1 required positional argument",
        ),
        ("{certificates: {root: {ends: soon}}}", "certificates.root.ends: expected a duration as 90m"),
        ("{certificates: {root: {is_ca: 1}}}", "certificates.root.is_ca: expected a bool"),
        ("{era: mixer}", "description.era: expected one of istiod, citadel, none"),
        ("{version: 1.29}", "description.version: expected a str, not 1.29"),
        ("{now: yesterday}", "description.now: expected a time"),
    ],
)
def test_a_wrong_description_is_told_where(text: str, complaint: str) -> None:
    with pytest.raises(DescriptionError) as error:
        parse_mesh(text, NOW)
    assert complaint in str(error.value)


def test_a_description_without_a_time_is_counted_from_now() -> None:
    assert parse_mesh("{namespaces: [bank]}", NOW) == Mesh(now=NOW, namespaces=(BANK,))

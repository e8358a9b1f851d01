"""The sandbox's objects are true: laid out as the eras and versions of Istio lay them out."""

from __future__ import annotations

import base64
from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography import x509

from described import BANK, CORPORATE, ISSUING, NOW, ROOT, STRANGE, ca_secret, issued, objects, texts
from sandbox import Account, Authority, Ca, ControlPlane, Leaf, Mesh, Namespace, Proxy
from sandbox.issuing import key_pem, pem

# The Secrets of a CA


@pytest.mark.parametrize(
    ("version", "keys", "root"),
    [
        ("1.0.6", ["ca-cert.pem", "ca-key.pem"], None),
        ("1.4.10", ["ca-cert.pem", "ca-key.pem", "cert-chain.pem", "key.pem", "root-cert.pem"], ""),
        ("1.20.0", ["ca-cert.pem", "ca-key.pem", "cert-chain.pem", "key.pem", "root-cert.pem"], pem([issued(ROOT)])),
    ],
)
def test_a_ca_secret_is_laid_out_by_version(version: str, keys: list[str], root: str | None) -> None:
    held = ca_secret(Mesh(now=NOW, version=version, ca=Authority(root=ROOT)))
    assert sorted(held) == keys
    assert (held["ca-cert.pem"], held["ca-key.pem"]) == (pem([issued(ROOT)]), key_pem("root"))
    assert held.get("root-cert.pem") == root


def test_a_generated_cacerts_is_marked() -> None:
    mesh = Mesh(now=NOW, ca=Authority(secret="cacerts", generated=True))
    assert objects(mesh, "Secret")["istio-system/cacerts"]["type"] == "istio.io/ca-root"
    assert ca_secret(mesh, "cacerts")["istio-generated"] == ""


def test_a_plugged_in_ca_has_its_chain_in_both_layouts() -> None:
    plugged = Authority(secret="cacerts", root=CORPORATE, chain=(ISSUING,), more_roots=(STRANGE,))
    below = issued(replace(ISSUING, signed_by=CORPORATE))
    roots = pem([issued(CORPORATE), issued(STRANGE)])
    assert ca_secret(Mesh(now=NOW, ca=plugged), "cacerts") == {
        "ca-cert.pem": pem([below]),
        "ca-key.pem": key_pem("issuing", "ec"),
        "cert-chain.pem": pem([below, issued(CORPORATE)]),
        "root-cert.pem": roots,
    }
    assert ca_secret(Mesh(now=NOW, ca=replace(plugged, layout="tls")), "cacerts") == {
        "tls.crt": pem([below]),
        "tls.key": key_pem("issuing", "ec"),
        "ca.crt": roots,
    }
    below.verify_directly_issued_by(issued(CORPORATE))


def test_a_ca_secret_can_be_wrong_in_every_part() -> None:
    wrong = Authority(secret="cacerts", stored_key="other", lacks=("cert-chain.pem",), crl_ends=timedelta(days=-2))
    held = ca_secret(Mesh(now=NOW, ca=wrong), "cacerts")
    revoked = x509.load_pem_x509_crl(held.pop("ca-crl.pem").encode())
    assert revoked.next_update_utc == NOW - timedelta(days=2)
    assert held == {
        "ca-cert.pem": pem([issued(Ca())]),
        "ca-key.pem": key_pem("other"),
        "root-cert.pem": pem([issued(Ca())]),
    }


def test_kubectl_apply_leaves_the_key_in_an_annotation() -> None:
    secret = objects(Mesh(now=NOW, ca=Authority(applied=True)), "Secret")["istio-system/istio-ca-secret"]
    left = secret["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"]
    assert secret["data"]["ca-key.pem"] in left


def test_an_external_ca_has_no_secret_and_the_home_is_not_empty() -> None:
    mesh = Mesh(now=NOW, ca=Authority(secret="", root=CORPORATE), beside=())
    assert list(objects(mesh, "Secret")) == ["istio-system/sh.helm.release.v1.istiod.v1"]
    assert objects(mesh, "ConfigMap")["istio-system/istio-ca-root-cert"]["data"] == {
        "root-cert.pem": pem([issued(CORPORATE)])
    }


def test_what_waits_beside_the_ca_is_younger_than_the_pods() -> None:
    mesh = Mesh(now=NOW, beside=(Authority(secret="cacerts", root=STRANGE, created=timedelta(hours=-1)),))
    waiting = objects(mesh, "Secret")["istio-system/cacerts"]["metadata"]["creationTimestamp"]
    (istiod,) = objects(mesh, "Pod").values()
    assert (waiting, istiod["status"]["startTime"]) == ("2026-11-24T07:00:00Z", "2026-11-14T08:00:00Z")


# What is published


def test_namespaces_hold_what_they_publish() -> None:
    bundle = Authority(root=ROOT, more_roots=(STRANGE,))
    namespaces = (
        BANK,
        Namespace("shop", publishes=(STRANGE,)),
        Namespace("bare", publishes=()),
        Namespace("left", terminating=True),
    )
    maps = objects(Mesh(now=NOW, ca=bundle, namespaces=namespaces), "ConfigMap")
    published = {key.split("/")[0]: body for key, body in maps.items() if key.endswith("/istio-ca-root-cert")}
    assert {name: body["data"]["root-cert.pem"] for name, body in published.items()} == {
        "istio-system": pem([issued(ROOT), issued(STRANGE)]),
        "bank": pem([issued(ROOT), issued(STRANGE)]),
        "shop": pem([issued(STRANGE)]),
    }
    assert published["bank"]["metadata"]["labels"] == {"istio.io/config": "true"}


def test_a_citadel_writes_secrets_and_its_own_configmap() -> None:
    namespace = Namespace("bank", accounts=(Account("ledger"), Account("lost", holds=(STRANGE,), annotated=False)))
    mesh = Mesh(now=NOW, era="citadel", version="1.4.10", ca=Authority(root=ROOT), namespaces=(namespace,))
    secrets = objects(mesh, "Secret")
    ledger, lost = secrets["bank/istio.ledger"], secrets["bank/istio.lost"]
    published = objects(mesh, "ConfigMap")["istio-system/istio-security"]["data"]["caTLSRootCert"]
    assert (ledger["type"], sorted(ledger["data"])) == (
        "istio.io/key-and-cert",
        ["cert-chain.pem", "key.pem", "root-cert.pem"],
    )
    assert ledger["metadata"]["annotations"] == {"istio.io/service-account.name": "ledger"}
    assert texts(ledger)["root-cert.pem"] == base64.b64decode(published).decode() == pem([issued(ROOT)])
    assert "annotations" not in lost["metadata"]
    assert texts(lost)["root-cert.pem"] == pem([issued(STRANGE)])
    assert not any(key.endswith("istio-ca-root-cert") for key in objects(mesh, "ConfigMap"))
    x509.load_pem_x509_certificate(texts(ledger)["cert-chain.pem"].encode()).verify_directly_issued_by(issued(ROOT))


def test_webhooks_and_the_serving_certificate_hold_the_bundle() -> None:
    mesh = Mesh(now=NOW, istiod_tls=Leaf(ends=timedelta(days=60)), control_planes=(ControlPlane(ca_bundle=(STRANGE,)),))
    (injector,) = objects(mesh, "MutatingWebhookConfiguration").values()
    serving = texts(objects(mesh, "Secret")["istio-system/istiod-tls"])
    bundles = {base64.b64decode(hook["clientConfig"]["caBundle"]).decode() for hook in injector["webhooks"]}
    assert bundles == {pem([issued(STRANGE)])}
    assert serving["ca.crt"] == pem([issued(Ca())])
    x509.load_pem_x509_certificate(serving["tls.crt"].encode()).verify_directly_issued_by(issued(Ca()))


# Workloads


def test_each_revision_of_istiod_has_its_labels_and_env() -> None:
    from_map = {"configMapKeyRef": {"name": "settings", "key": "ca"}}
    planes = (
        ControlPlane(env={"EXTERNAL_CA": from_map, "ENABLE_CA_SERVER": "false"}),
        ControlPlane(revision="canary", version="1.30.0", replicas=2),
        ControlPlane(revision="", replicas=0),
    )
    default, canary = (objects(Mesh(now=NOW, control_planes=(plane,)), "Deployment") for plane in planes[:2])
    plain = Mesh(now=NOW, control_planes=planes[2:])
    (container,) = default["istio-system/istiod"]["spec"]["template"]["spec"]["containers"]
    env = {one.pop("name"): one for one in container["env"]}
    assert (env["EXTERNAL_CA"], env["ENABLE_CA_SERVER"]) == ({"valueFrom": from_map}, {"value": "false"})
    template = canary["istio-system/istiod-canary"]["spec"]["template"]
    assert {key: template["metadata"]["labels"][key] for key in ("app", "istio", "istio.io/rev")} == {
        "app": "istiod",
        "istio": "istiod",
        "istio.io/rev": "canary",
    }
    assert template["spec"]["containers"][0]["image"] == "docker.io/istio/pilot:1.30.0"
    assert len(objects(Mesh(now=NOW, control_planes=planes[1:2]), "Pod")) == 2
    assert (
        "istio.io/rev"
        not in objects(plain, "Deployment")["istio-system/istiod"]["spec"]["template"]["metadata"]["labels"]
    )
    assert objects(plain, "Pod") == {}


@pytest.mark.parametrize(
    ("secret", "flag"), [("istio-ca-secret", "--self-signed-ca=true"), ("cacerts", "--self-signed-ca=false")]
)
def test_a_citadel_is_told_its_ca_by_a_flag(secret: str, flag: str) -> None:
    mesh = Mesh(now=NOW, era="citadel", version="1.4.10", ca=Authority(secret=secret), parts=())
    (citadel,) = objects(mesh, "Pod").values()
    assert flag in citadel["spec"]["containers"][0]["args"]
    assert citadel["metadata"]["labels"]["istio"] == "citadel"


def test_proxies_stand_where_their_kind_puts_them() -> None:
    proxies = (
        Proxy("plain", "bank"),
        Proxy("native", "bank", "native"),
        Proxy("door", "bank", "gateway", version="1.28.1"),
        Proxy("way", "bank", "waypoint", image="mirror.local/proxy@sha256:0"),
        Proxy("ztunnel", "bank", "ztunnel"),
    )
    mesh = Mesh(now=NOW, era="none", proxies=proxies)
    pods = {proxy.name: objects(mesh, "Pod")[f"{place[0]}/{place[1]}"]["spec"] for place, proxy in mesh.pods().items()}
    images = {
        name: {
            part: next((one["image"] for one in spec.get(part, ()) if one["name"] == "istio-proxy"), None)
            for part in ("containers", "initContainers")
        }
        for name, spec in pods.items()
    }
    assert images == {
        "plain": {"containers": "docker.io/istio/proxyv2:1.29.2", "initContainers": None},
        "native": {"containers": None, "initContainers": "docker.io/istio/proxyv2:1.29.2"},
        "door": {"containers": "docker.io/istio/proxyv2:1.28.1", "initContainers": None},
        "way": {"containers": "mirror.local/proxy@sha256:0", "initContainers": None},
        "ztunnel": {"containers": "docker.io/istio/ztunnel:1.29.2-distroless", "initContainers": None},
    }
    assert list(objects(mesh, "DaemonSet")) == ["bank/ztunnel"]
    assert "sidecar.istio.io/status" not in str(objects(mesh, "Deployment"))  # injected into pods, not into templates


def test_several_meshes_stand_in_one_cluster() -> None:
    other = Mesh(now=NOW, home="istio-two", ca=Authority(root=STRANGE), namespaces=(Namespace("factory"),))
    maps = objects(Mesh(now=NOW, namespaces=(BANK,), others=(other,)), "ConfigMap")
    assert maps["bank/istio-ca-root-cert"]["data"]["root-cert.pem"] == pem([issued(Ca())])
    assert maps["factory/istio-ca-root-cert"]["data"]["root-cert.pem"] == pem([issued(STRANGE)])

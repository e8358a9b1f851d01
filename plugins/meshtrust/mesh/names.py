"""The names by which Istio is found: labels, objects, data keys, environment, arguments.

They are the same from 1.0 to today unless a comment says more. Sources are Istio's own charts and code
(manifests/charts/istio-control, security/pkg/pki/ca, pilot/pkg/bootstrap/istio_ca.go).
"""

from __future__ import annotations

from datetime import timedelta

ISTIOD = {"app": "istiod"}  # since 1.5, whatever the revision; `istio=pilot` is lost where a revision is set
CITADEL = {"istio": "citadel"}  # 1.0-1.4
ISTIOD_CONTAINER = "discovery"
CITADEL_CONTAINER = "citadel"
REVISION, DEFAULT_REVISION = "istio.io/rev", "default"  # the label is absent in 1.5
HOMES = ("istio-system", "aks-istio-system")  # where a control plane stands unless somebody moved it

CA_SECRET = "istio-ca-secret"
CACERTS = "cacerts"
GENERATED = "istio-generated"  # the empty data key of a self-signed `cacerts` (1.20)
SERVING_SECRET = "istiod-tls"
SIGNING, SIGNING_KEY, CHAIN, ROOTS, CRL = "ca-cert.pem", "ca-key.pem", "cert-chain.pem", "root-cert.pem", "ca-crl.pem"
TLS_SIGNING, TLS_KEY, TLS_ROOTS = "tls.crt", "tls.key", "ca.crt"
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"

ROOT_CONFIGMAP = "istio-ca-root-cert"  # in every namespace, since 1.5
CITADEL_CONFIGMAP, CITADEL_ROOT = "istio-security", "caTLSRootCert"  # 1.1-1.4; base64 of PEM
TRUST_BUNDLE = "istio.io:istiod-ca:root-cert"  # replaces the ConfigMaps where it is switched on (1.27)

# Environment of istiod; of Citadel 1.4 the first two as well.
CHECK_INTERVAL, DEFAULT_CHECK_INTERVAL = "CITADEL_SELF_SIGNED_ROOT_CERT_CHECK_INTERVAL", timedelta(hours=1)
GRACE_SHARE, DEFAULT_GRACE_SHARE = "CITADEL_SELF_SIGNED_ROOT_CERT_GRACE_PERIOD_PERCENTILE", 20
CA_SERVER = "ENABLE_CA_SERVER"
EXTERNAL_CA = "EXTERNAL_CA"
GENERATED_CACERTS = "USE_CACERTS_FOR_SELF_SIGNED_CA"
ROOT_CONFIGMAP_NAME = "PILOT_CA_CERT_CONFIGMAP"
CLUSTER_TRUST_BUNDLES = "ENABLE_CLUSTER_TRUST_BUNDLE_API"

SELF_SIGNED_ARGUMENT = "--self-signed-ca"  # of Citadel; false unless given, and the charts give it

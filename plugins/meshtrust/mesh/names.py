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
INJECTOR = "sidecar-injector-webhook"  # 1.0-1.4
REVISION, DEFAULT_REVISION = "istio.io/rev", "default"  # the label is absent in 1.5
HOMES = ("istio-system", "aks-istio-system")  # where a control plane stands unless somebody moved it

TRUST_DOMAIN = "cluster.local"  # unless somebody set another
CA_SECRET = "istio-ca-secret"
CACERTS = "cacerts"
GENERATED = "istio-generated"  # the empty data key of a self-signed `cacerts` (1.20)
SERVING_SECRET = "istiod-tls"
SIGNING, SIGNING_KEY, CHAIN, ROOTS, CRL = "ca-cert.pem", "ca-key.pem", "cert-chain.pem", "root-cert.pem", "ca-crl.pem"
TLS_SIGNING, TLS_KEY, TLS_ROOTS = "tls.crt", "tls.key", "ca.crt"
PREVIOUS = "previous-ca-cert.pem"  # ours: what stood there before; istiod's renewals leave it alone
PREVIOUS_NOTE = r"# (superseded|set aside) by sha256:([0-9a-f]{64}) at ([0-9TZ:-]{1,30})"  # the line above it
REMOTE_SECRETS, REMOTE_CLUSTER = {"istio/multiCluster": "true"}, "networking.istio.io/cluster"
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"

ROOT_CONFIGMAP = "istio-ca-root-cert"  # in every namespace, since 1.5
CITADEL_CONFIGMAP, CITADEL_ROOT = "istio-security", "caTLSRootCert"  # 1.1-1.4; base64 of PEM
TRUST_BUNDLE = "istio.io:istiod-ca:root-cert"  # replaces the ConfigMaps where it is switched on (1.27)

# Environment of istiod; of Citadel 1.4 the first two as well.
CHECK_INTERVAL, DEFAULT_CHECK_INTERVAL = "CITADEL_SELF_SIGNED_ROOT_CERT_CHECK_INTERVAL", timedelta(hours=1)
GRACE_SHARE, DEFAULT_GRACE_SHARE = "CITADEL_SELF_SIGNED_ROOT_CERT_GRACE_PERIOD_PERCENTILE", 20
LEAF_LIFE, DEFAULT_LEAF_LIFE = "DEFAULT_WORKLOAD_CERT_TTL", timedelta(hours=24)
LONGEST_LEAF_LIFE, DEFAULT_LONGEST_LEAF_LIFE = "MAX_WORKLOAD_CERT_TTL", timedelta(days=90)
CA_SERVER = "ENABLE_CA_SERVER"
EXTERNAL_CA = "EXTERNAL_CA"
GENERATED_CACERTS = "USE_CACERTS_FOR_SELF_SIGNED_CA"
ROOT_CONFIGMAP_NAME = "PILOT_CA_CERT_CONFIGMAP"
CLUSTER_TRUST_BUNDLES = "ENABLE_CLUSTER_TRUST_BUNDLE_API"

# Which namespaces get a copy of the root: never those that Kubernetes keeps for itself, since 1.11.
UNPUBLISHED = frozenset({"kube-public", "kube-node-lease", "local-path-storage"})
UNPUBLISHED_BEFORE = frozenset({"kube-system"})  # from 1.11 to 1.20 as well
MESH_CONFIG, MESH_CONFIG_KEY = "istio", "mesh"  # ConfigMap `istio`, `istio-<revision>`
DISCOVERY_SELECTORS = "discoverySelectors"
CERTIFICATE_PROVIDER, ISTIODS_OWN = "PILOT_CERT_PROVIDER", frozenset({"", "istiod"})  # of istiod's serving certificate

# Webhooks that istiod patches: the injector's are told by the names of their entries.
INJECTOR_ENTRY, ISTIO_ENTRY = "sidecar-injector.istio.io", ".istio.io"

# What Citadel keeps for workloads, and for which: labels of a namespace since 1.3, an argument before.
ACCOUNT_ANNOTATION = "istio.io/service-account.name"
CITADEL_OVERRIDE, CITADEL_HOME = "ca.istio.io/override", "ca.istio.io/env"
CITADEL_BY_DEFAULT = "CITADEL_ENABLE_NAMESPACES_BY_DEFAULT"
CITADEL_ONLY_IN = ("--listened-namespace", "--listened-namespaces")
CITADEL_SERVES_ONLY = "--server-only"

SELF_SIGNED_ARGUMENT = "--self-signed-ca"  # of Citadel; false unless given, and the charts give it

# Pods with a proxy. Containers: `istio-proxy` everywhere but in gateways of 1.0, which are told by their arguments.
PROXY_CONTAINER, AGENTGATEWAY = "istio-proxy", "agentgateway"
PROXY_ARGUMENT = "proxy"  # of pilot-agent and ztunnel, before the role
GATEWAY_ROLES, WAYPOINT_ROLE, ZTUNNEL = frozenset({"router", "ingress"}), "waypoint", "ztunnel"  # ingress until 0.8
GATEWAY_NAME, GATEWAY_CLASS = "gateway.networking.k8s.io/gateway-name", "gateway.networking.k8s.io/gateway-class-name"
MANAGED_GATEWAY, WAYPOINT_CLASS = "gateway.istio.io/managed", "istio-waypoint"
STATUS, TEMPLATES = "sidecar.istio.io/status", "inject.istio.io/templates"
PROXYLESS_TEMPLATE = "grpc-agent"
PROXY_CONFIG_ANNOTATION, PROXY_CONFIG = "proxy.istio.io/config", "PROXY_CONFIG"
ADMIN_PORT, ADMIN_PORT_ARGUMENT, ZTUNNEL_ADMIN = 15000, "--proxyAdminPort", "ADMIN_ADDR"
CONTROL_PLANE_AUTH_ARGUMENT, DISCOVERY_ARGUMENT = "--controlPlaneAuthPolicy", "--discoveryAddress"
CA_ADDRESSES = ("CA_ADDR", "CA_ADDRESS")  # of pilot-agent, of ztunnel
FILE_MOUNTED = "FILE_MOUNTED_CERTS"
AGENTS_LEAF_LIFE = timedelta(hours=24)  # what an agent asks for (SECRET_TTL)
# Of an agent: which share of a leaf's life is left when it asks for the next one.
GRACE_RATIO, DEFAULT_GRACE_RATIO = "SECRET_GRACE_PERIOD_RATIO", 0.5
WATCHED_NAMESPACE = "ISTIO_WATCH_NAMESPACE"  # of istiod: the only one that it looks into
SPIRE_DRIVER, WORKLOAD_SOCKET = "csi.spiffe.io", "workload-socket"  # a socket of SPIRE's is no emptyDir
GOOGLE_DRIVER = "workloadcertificates.security.cloud.google.com"
WORKLOAD_SECRET = "istio."  # and the ServiceAccount: Citadel's, mounted as files
# What the control plane is made of: a label of the pod, and the containers that count.
CONTROL_PLANE = {
    ("app", "istiod"): frozenset({ISTIOD_CONTAINER}),
    ("istio", "pilot"): frozenset({ISTIOD_CONTAINER}),
    ("istio", "citadel"): frozenset({CITADEL_CONTAINER}),
    ("istio", "galley"): frozenset({"galley", "validator"}),  # `validator` in 1.0
    ("istio", "sidecar-injector"): frozenset({INJECTOR}),
    ("istio", "mixer"): frozenset({"mixer"}),
    ("istio", "nodeagent"): frozenset({"nodeagent"}),
}

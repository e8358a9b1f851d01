"""One Kubernetes object, where it stands, and which of its fields are read at all."""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003 - msgspec resolves the annotations of the shapes at run time
from dataclasses import dataclass
from typing import Any, Required, TypedDict

from msgspec import Struct, structs


class Ref(Struct, frozen=True, order=True):
    """Where a fact stands: an object, and the data key inside it. Cluster-scoped objects have no namespace.

    Without a name it stands for all of the kind, or for those of the namespace.
    """

    kind: str
    namespace: str
    name: str
    part: str = ""

    def at(self, part: str) -> Ref:
        return structs.replace(self, part=part)

    def __str__(self) -> str:
        name = self.name or "*"
        place = f"{self.namespace}/{name}" if self.namespace else name
        return f"{self.kind} {place} [{self.part}]" if self.part else f"{self.kind} {place}"


class KubeObject(Struct, frozen=True):
    """An object as Kubernetes gives it, cut down to the fields that its `Kind` declares.

    The body of a Secret may hold a private key: it is never printed, so it is left out of the repr.
    """

    ref: Ref
    body: Mapping[str, Any]

    def __repr__(self) -> str:
        return f"KubeObject({self.ref!r})"

    @property
    def labels(self) -> Mapping[str, str]:
        return self.body["metadata"].get("labels") or {}

    @property
    def created(self) -> str:
        return self.body["metadata"].get("creationTimestamp") or ""

    @property
    def annotations(self) -> Mapping[str, str]:
        return self.body["metadata"].get("annotations") or {}


@dataclass(frozen=True, slots=True)
class Unread:
    """An object (or a file) that is there and could not be read."""

    ref: Ref
    why: str


# The fields that are read, as types for msgspec: everything else of an object is dropped while it is decoded, and a
# field of another type makes the object `Unread`. Only a name is asked for; anything else may be missing.


class Metadata(TypedDict, total=False):
    name: Required[str]
    namespace: str
    creationTimestamp: str | None
    deletionTimestamp: str | None
    labels: dict[str, str] | None
    annotations: dict[str, str] | None


class Owned(TypedDict):
    """That a field is somebody's is all that is read of it."""


# Of what a writer has written, whether it is the root of a CA.
OwnedData = TypedDict("OwnedData", {"f:ca-cert.pem": Owned}, total=False)
OwnedFields = TypedDict("OwnedFields", {"f:data": OwnedData}, total=False)


class ManagedFields(TypedDict, total=False):
    manager: str
    operation: str
    time: str | None
    fieldsV1: OwnedFields | None


class SecretMetadata(TypedDict, total=False):
    name: Required[str]
    namespace: str
    creationTimestamp: str | None
    deletionTimestamp: str | None
    labels: dict[str, str] | None
    annotations: dict[str, str] | None
    resourceVersion: str
    managedFields: list[ManagedFields] | None


class Secret(TypedDict, total=False):
    metadata: Required[SecretMetadata]
    type: str
    immutable: bool | None
    data: dict[str, str | None] | None


# A Secret that Citadel keeps for a ServiceAccount: its private key is not even decoded.
WorkloadData = TypedDict("WorkloadData", {"cert-chain.pem": str | None, "root-cert.pem": str | None}, total=False)
WorkloadAnnotations = TypedDict("WorkloadAnnotations", {"istio.io/service-account.name": str}, total=False)


class WorkloadMetadata(TypedDict, total=False):
    name: Required[str]
    namespace: str
    creationTimestamp: str | None
    annotations: WorkloadAnnotations | None


class WorkloadSecret(TypedDict, total=False):
    metadata: Required[WorkloadMetadata]
    type: str
    data: WorkloadData | None


class Name(TypedDict, total=False):
    name: Required[str]
    namespace: str


class ServiceAccount(TypedDict, total=False):
    metadata: Required[Name]


class ServiceReference(TypedDict, total=False):
    name: str
    namespace: str


class WebhookClientConfig(TypedDict, total=False):
    url: str | None
    service: ServiceReference | None
    caBundle: str | None


class Webhook(TypedDict, total=False):
    name: str
    clientConfig: WebhookClientConfig


class WebhookConfiguration(TypedDict, total=False):
    metadata: Required[Metadata]
    webhooks: list[Webhook] | None


class WorkloadEntry(TypedDict, total=False):
    metadata: Required[Metadata]


class ConfigMap(TypedDict, total=False):
    metadata: Required[Metadata]
    data: dict[str, str | None] | None


class TrustBundleSpec(TypedDict, total=False):
    signerName: str
    trustBundle: str


class ClusterTrustBundle(TypedDict, total=False):
    metadata: Required[Metadata]
    spec: TrustBundleSpec


class Namespace(TypedDict, total=False):
    metadata: Required[Metadata]


class ValueFrom(TypedDict):
    """That a value comes from elsewhere is all that is read of it."""


class EnvVar(TypedDict, total=False):
    name: str
    value: str
    valueFrom: ValueFrom


class Container(TypedDict, total=False):
    name: str
    image: str
    command: list[str] | None
    args: list[str] | None
    env: list[EnvVar] | None
    restartPolicy: str | None


class SecretVolume(TypedDict, total=False):
    secretName: str


class CsiVolume(TypedDict, total=False):
    driver: str


class HostPath(TypedDict, total=False):
    path: str


class Volume(TypedDict, total=False):
    name: str
    secret: SecretVolume | None
    csi: CsiVolume | None
    hostPath: HostPath | None


class PodSpec(TypedDict, total=False):
    containers: list[Container]
    initContainers: list[Container] | None
    volumes: list[Volume] | None
    nodeName: str
    serviceAccountName: str


class Running(TypedDict, total=False):
    startedAt: str


class Stopped(TypedDict, total=False):
    reason: str


class ContainerState(TypedDict, total=False):
    running: Running | None
    waiting: Stopped | None
    terminated: Stopped | None


class ContainerStatus(TypedDict, total=False):
    name: str
    image: str
    ready: bool
    state: ContainerState


class PodStatus(TypedDict, total=False):
    phase: str
    podIP: str
    containerStatuses: list[ContainerStatus] | None
    initContainerStatuses: list[ContainerStatus] | None


class OwnerReference(TypedDict, total=False):
    kind: str
    name: str
    controller: bool | None


# Of a pod's annotations only these: the rest can be long, and there are thousands of pods.
PodAnnotations = TypedDict(
    "PodAnnotations",
    {
        "sidecar.istio.io/status": str,
        "istio.io/rev": str,
        "inject.istio.io/templates": str,
        "proxy.istio.io/config": str,
    },
    total=False,
)


class PodMetadata(TypedDict, total=False):
    name: Required[str]
    namespace: str
    creationTimestamp: str | None
    deletionTimestamp: str | None
    labels: dict[str, str] | None
    annotations: PodAnnotations | None
    ownerReferences: list[OwnerReference] | None


class Pod(TypedDict, total=False):
    metadata: Required[PodMetadata]
    spec: PodSpec
    status: PodStatus


class TemplateMetadata(TypedDict, total=False):
    labels: dict[str, str] | None


class PodTemplate(TypedDict, total=False):
    metadata: TemplateMetadata
    spec: PodSpec


class DeploymentMetadata(TypedDict, total=False):
    name: Required[str]
    namespace: str
    creationTimestamp: str | None
    deletionTimestamp: str | None
    labels: dict[str, str] | None
    annotations: dict[str, str] | None
    generation: int
    resourceVersion: str


class DeploymentSpec(TypedDict, total=False):
    replicas: int | None
    paused: bool
    template: PodTemplate


class DeploymentStatus(TypedDict, total=False):
    observedGeneration: int
    replicas: int
    updatedReplicas: int
    readyReplicas: int
    availableReplicas: int


class Deployment(TypedDict, total=False):
    metadata: Required[DeploymentMetadata]
    spec: DeploymentSpec
    status: DeploymentStatus


# Secrets of which nothing but that they are there may be known: the kubeconfigs of other clusters.
RemoteAnnotations = TypedDict("RemoteAnnotations", {"networking.istio.io/cluster": str}, total=False)


class NameOnly(TypedDict, total=False):
    name: Required[str]
    namespace: str
    labels: dict[str, str] | None
    annotations: RemoteAnnotations | None


class RemoteSecret(TypedDict, total=False):
    metadata: Required[NameOnly]


# What asks for mutual TLS, in both eras.


class Mode(TypedDict, total=False):
    mode: str


class WorkloadSelector(TypedDict, total=False):
    matchLabels: dict[str, str] | None


class TargetReference(TypedDict):
    """That there is one is all that is read of it."""


class PeerAuthenticationSpec(TypedDict, total=False):
    selector: WorkloadSelector | None
    targetRefs: list[TargetReference] | None
    mtls: Mode | None
    portLevelMtls: dict[str, Mode | None] | None


class PeerAuthentication(TypedDict, total=False):
    metadata: Required[Metadata]
    spec: PeerAuthenticationSpec | None


class PeerMethod(TypedDict, total=False):
    mtls: Mode | None


class PolicySpec(TypedDict, total=False):
    peers: list[PeerMethod] | None


class Policy(TypedDict, total=False):
    metadata: Required[Metadata]
    spec: PolicySpec | None


class PortSettings(TypedDict, total=False):
    tls: Mode | None


class TrafficPolicy(TypedDict, total=False):
    tls: Mode | None
    portLevelSettings: list[PortSettings] | None


class Subset(TypedDict, total=False):
    trafficPolicy: TrafficPolicy | None


class DestinationRuleSpec(TypedDict, total=False):
    trafficPolicy: TrafficPolicy | None
    subsets: list[Subset] | None


class DestinationRule(TypedDict, total=False):
    metadata: Required[Metadata]
    spec: DestinationRuleSpec | None


@dataclass(frozen=True, slots=True)
class Kind:
    """How the API server calls a kind: `versions` are apiVersions, the preferred one first.

    `typed` makes it a view of another kind, `of`: only its objects of that type, cut down to another shape.
    `page` is how many an answer may hold: kubectl's number is as fast as any where they are large.
    """

    name: str
    plural: str
    shape: type
    versions: tuple[str, ...] = ("v1",)
    namespaced: bool = True
    of: str = ""
    typed: str = ""
    page: int = 500


_SMALL = 5000  # a page of those that are a few hundred octets each: their time is that of the round trips
_NETWORKING = ("networking.istio.io/v1", "networking.istio.io/v1beta1", "networking.istio.io/v1alpha3")

KINDS: Mapping[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind("Secret", "secrets", Secret),
        Kind("WorkloadSecret", "secrets", WorkloadSecret, of="Secret", typed="istio.io/key-and-cert"),
        Kind("RemoteSecret", "secrets", RemoteSecret, of="Secret"),
        Kind("ServiceAccount", "serviceaccounts", ServiceAccount, page=_SMALL),
        Kind("ConfigMap", "configmaps", ConfigMap),
        Kind("Pod", "pods", Pod),
        Kind("Namespace", "namespaces", Namespace, namespaced=False, page=_SMALL),
        Kind("Deployment", "deployments", Deployment, versions=("apps/v1",)),
        Kind(
            "ClusterTrustBundle",
            "clustertrustbundles",
            ClusterTrustBundle,
            versions=(
                "certificates.k8s.io/v1",
                "certificates.k8s.io/v1beta1",
                "certificates.k8s.io/v1alpha1",
            ),
            namespaced=False,
        ),
        *(
            Kind(
                f"{act}WebhookConfiguration",
                f"{act.lower()}webhookconfigurations",
                WebhookConfiguration,
                versions=("admissionregistration.k8s.io/v1", "admissionregistration.k8s.io/v1beta1"),
                namespaced=False,
            )
            for act in ("Mutating", "Validating")
        ),
        Kind(
            "WorkloadEntry",
            "workloadentries",
            WorkloadEntry,
            versions=_NETWORKING,
        ),
        Kind("DestinationRule", "destinationrules", DestinationRule, versions=_NETWORKING),
        Kind(
            "PeerAuthentication",
            "peerauthentications",
            PeerAuthentication,
            versions=("security.istio.io/v1", "security.istio.io/v1beta1"),
        ),
        Kind("Policy", "policies", Policy, versions=("authentication.istio.io/v1alpha1",)),
        Kind("MeshPolicy", "meshpolicies", Policy, versions=("authentication.istio.io/v1alpha1",), namespaced=False),
    )
}

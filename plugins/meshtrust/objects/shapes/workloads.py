"""What runs: pods, and the Deployments of a control plane."""

from typing import Required, TypedDict


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

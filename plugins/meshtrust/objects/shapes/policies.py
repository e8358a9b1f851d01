"""What asks for mutual TLS, in both eras."""

from typing import Required, TypedDict

from meshtrust.objects.shapes import Metadata


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

"""Secrets: those of a CA, those that Citadel keeps for workloads, and those that lead to other clusters."""

from typing import Required, TypedDict


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


# Secrets of which nothing but that they are there may be known: the kubeconfigs of other clusters.
RemoteAnnotations = TypedDict("RemoteAnnotations", {"networking.istio.io/cluster": str}, total=False)


class NameOnly(TypedDict, total=False):
    name: Required[str]
    namespace: str
    labels: dict[str, str] | None
    annotations: RemoteAnnotations | None


class RemoteSecret(TypedDict, total=False):
    metadata: Required[NameOnly]

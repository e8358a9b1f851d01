"""The kinds that are asked for, how the API server calls them, and which of their fields are read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from meshtrust.objects.shapes import Namespace, ServiceAccount, WorkloadEntry
from meshtrust.objects.shapes.policies import DestinationRule, PeerAuthentication, Policy
from meshtrust.objects.shapes.published import ClusterTrustBundle, ConfigMap, WebhookConfiguration
from meshtrust.objects.shapes.secrets import RemoteSecret, Secret, WorkloadSecret
from meshtrust.objects.shapes.workloads import Deployment, Pod

if TYPE_CHECKING:
    from collections.abc import Mapping


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

"""Where roots are published: ConfigMaps, ClusterTrustBundles, and the webhooks that are told whom to trust."""

from typing import Required, TypedDict

from meshtrust.objects.shapes import Metadata


class ConfigMap(TypedDict, total=False):
    metadata: Required[Metadata]
    data: dict[str, str | None] | None


class TrustBundleSpec(TypedDict, total=False):
    signerName: str
    trustBundle: str


class ClusterTrustBundle(TypedDict, total=False):
    metadata: Required[Metadata]
    spec: TrustBundleSpec


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

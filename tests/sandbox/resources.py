"""Which resources the pretend API server knows, and how it answers discovery."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

_PATH = re.compile(
    r"/(?:api/(?P<core>v1)|apis/(?P<group>[^/]+)/(?P<version>[^/]+))"
    r"(?:/namespaces/(?P<namespace>[^/]+))?/(?P<plural>[^/]+)(?:/(?P<name>[^/]+))?(?:/(?P<subresource>.+))?"
)
_READ = ("get", "list", "patch", "watch")


@dataclass(frozen=True, slots=True)
class Resource:
    """A resource as discovery tells of it; `api` is its group and version, `v1` for the core group."""

    kind: str
    plural: str
    api: str = "v1"
    namespaced: bool = True
    short: tuple[str, ...] = ()
    verbs: tuple[str, ...] = _READ
    categories: tuple[str, ...] = ()
    fields: tuple[str, ...] = ()

    @property
    def group(self) -> str:
        return self.api.rpartition("/")[0]

    @property
    def full_name(self) -> str:
        return f"{self.plural}.{self.group}" if self.group else self.plural

    def described(self, subresource: str = "", verbs: tuple[str, ...] = ()) -> dict[str, Any]:
        body: dict[str, Any] = {
            "name": f"{self.plural}/{subresource}" if subresource else self.plural,
            "singularName": "" if subresource else self.kind.lower(),
            "namespaced": self.namespaced,
            "kind": self.kind,
            "verbs": list(verbs or self.verbs),
        }
        if self.short and not subresource:
            body["shortNames"] = list(self.short)
        if self.categories and not subresource:
            body["categories"] = list(self.categories)
        return body


_ALWAYS = (
    Resource("Namespace", "namespaces", namespaced=False, short=("ns",), fields=("status.phase",)),
    Resource("Secret", "secrets", fields=("type",)),
    Resource("ConfigMap", "configmaps", short=("cm",)),
    Resource("ServiceAccount", "serviceaccounts", short=("sa",)),
    Resource("Service", "services", short=("svc",), categories=("all",)),
    Resource(
        "Pod",
        "pods",
        short=("po",),
        categories=("all",),
        fields=("status.phase", "spec.nodeName", "spec.serviceAccountName", "spec.restartPolicy", "status.podIP"),
    ),
    Resource(
        "Event",
        "events",
        short=("ev",),
        fields=("involvedObject.name", "involvedObject.namespace", "involvedObject.uid", "involvedObject.kind", "type"),
    ),
    Resource("LimitRange", "limitranges", short=("limits",)),
    Resource("ResourceQuota", "resourcequotas", short=("quota",)),
    Resource("Node", "nodes", namespaced=False, short=("no",)),
    Resource("Deployment", "deployments", "apps/v1", short=("deploy",), categories=("all",)),
    Resource("ReplicaSet", "replicasets", "apps/v1", short=("rs",), categories=("all",)),
    Resource("DaemonSet", "daemonsets", "apps/v1", short=("ds",), categories=("all",)),
    Resource("StatefulSet", "statefulsets", "apps/v1", short=("sts",), categories=("all",)),
    Resource(
        "MutatingWebhookConfiguration",
        "mutatingwebhookconfigurations",
        "admissionregistration.k8s.io/v1",
        namespaced=False,
    ),
    Resource(
        "ValidatingWebhookConfiguration",
        "validatingwebhookconfigurations",
        "admissionregistration.k8s.io/v1",
        namespaced=False,
    ),
    Resource(
        "SelfSubjectAccessReview",
        "selfsubjectaccessreviews",
        "authorization.k8s.io/v1",
        namespaced=False,
        verbs=("create",),
    ),
)


# Served where an object of it stands, in the versions of the objects: by kind, all but the version.
_DEFINED = (
    Resource("ClusterTrustBundle", "clustertrustbundles", namespaced=False, fields=("spec.signerName",)),
    Resource("PeerAuthentication", "peerauthentications", short=("pa",)),
    Resource("DestinationRule", "destinationrules", short=("dr",)),
    Resource("WorkloadEntry", "workloadentries", short=("we",)),
    Resource("Policy", "policies"),
    Resource("MeshPolicy", "meshpolicies", namespaced=False),
)


@dataclass(frozen=True, slots=True)
class Target:
    """What a path asks for."""

    resource: Resource
    namespace: str = ""
    name: str = ""
    subresource: str = ""


class Catalogue:
    """The resources of one server: those of every cluster, and those of Istio of which an object stands there."""

    def __init__(self, bodies: Iterable[dict[str, Any]]) -> None:
        there = {(body["kind"], body["apiVersion"]) for body in bodies}
        extra = (replace(one, api=api) for kind, api in sorted(there) for one in _DEFINED if one.kind == kind)
        self.resources = (*_ALWAYS, *extra)
        self._by_path = {(one.api, one.plural): one for one in self.resources}
        self._by_kind = {(one.api, one.kind): one for one in self.resources}
        self._plain = {one.kind: one for one in self.resources}

    def target(self, path: str) -> Target | None:
        """Say what a path means; None where no such resource is served."""
        matched = _PATH.fullmatch(path)
        if matched is None:
            return None
        part = matched.groupdict()
        api = part["core"] or f"{part['group']}/{part['version']}"
        resource = self._by_path.get((api, part["plural"]))
        if resource is None:
            return None
        return Target(resource, part["namespace"] or "", part["name"] or "", part["subresource"] or "")

    def of(self, body: dict[str, Any]) -> Resource:
        return self._by_kind[body["apiVersion"], body["kind"]]

    def named(self, kind: str) -> Resource:
        return self._plain[kind]

    def knows(self, kind: str) -> bool:
        return kind in self._plain

    def serves(self, path: str) -> bool:
        """Say whether a path lies in a group and version that exist, so that only the resource is unknown."""
        return any(path.startswith((f"/apis/{one.api}/", f"/api/{one.api}/")) for one in self.resources)

    def discovery(self, path: str) -> dict[str, Any] | None:
        if path == "/api":
            return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}
        if path == "/apis":
            return {
                "kind": "APIGroupList",
                "apiVersion": "v1",
                "groups": [self._group(name) for name in self._groups()],
            }
        if path == "/version":
            return {
                "major": "1",
                "minor": "36",
                "gitVersion": "v1.36.0",
                "gitCommit": "0" * 40,
                "gitTreeState": "clean",
                "buildDate": "2026-04-22T13:29:10Z",
                "goVersion": "go1.26.0",
                "compiler": "gc",
                "platform": "linux/amd64",
            }
        if path.startswith("/apis/") and path[6:] in self._groups():
            return {"kind": "APIGroup", "apiVersion": "v1", **self._group(path[6:])}
        return self._resource_list(path.removeprefix("/apis/" if path.startswith("/apis/") else "/api/"))

    def _resource_list(self, api: str) -> dict[str, Any] | None:
        listed = [one.described() for one in self.resources if one.api == api]
        if not listed:
            return None
        if api == "v1":
            listed.append(self.named("Pod").described("portforward", ("create", "get")))
        return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": api, "resources": listed}

    def _groups(self) -> list[str]:
        return sorted({one.group for one in self.resources if one.group})

    def _group(self, name: str) -> dict[str, Any]:
        apis = sorted({one.api for one in self.resources if one.group == name})
        versions = [{"groupVersion": api, "version": api.rpartition("/")[2]} for api in apis]
        return {"name": name, "versions": versions, "preferredVersion": versions[0]}

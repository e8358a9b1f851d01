"""Who asks, and whether they may: bearer token, client certificate, impersonation, and rights taken away."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from sandbox.status import ApiError, forbidden

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiohttp import web

    from sandbox.resources import Target

USER = "tester"


@dataclass(frozen=True, slots=True)
class Denial:
    """A right that is taken away; each part is a pattern. A namespace of `` is the cluster-wide request alone."""

    verb: str
    resource: str
    namespace: str
    user: str

    def covers(self, verb: str, resource: str, namespace: str, user: str) -> bool:
        return (
            fnmatchcase(verb, self.verb)
            and fnmatchcase(resource, self.resource)
            and fnmatchcase(namespace, self.namespace)
            and fnmatchcase(user, self.user)
        )


class Access:
    """Everybody who is known may do everything but what is forbidden."""

    def __init__(self, token: str) -> None:
        self.token = token
        self._denials: list[Denial] = []

    def forbid(self, verb: str, resource: str, *, namespace: str = "*", user: str = "*") -> None:
        self._denials.append(Denial(verb, resource, namespace, user))

    def allow_all(self) -> None:
        self._denials.clear()

    def user_of(self, raw: web.BaseRequest) -> str:
        """Say who asks; raises 401 for a stranger, and 403 for one who may not impersonate."""
        user = self._authenticated(raw)
        impersonated = raw.headers.get("Impersonate-User")
        if impersonated is None:
            return user
        if self._is_denied("impersonate", "users", "", user):
            raise forbidden(user, "impersonate", "users", "", "", impersonated)
        return impersonated

    def demand(self, verb: str, target: Target, user: str) -> None:
        resource, subresource = target.resource, target.subresource
        asked = f"{resource.plural}/{subresource}" if subresource else resource.plural
        if self._is_denied(verb, asked, target.namespace, user):
            raise forbidden(user, verb, asked, resource.group, target.namespace, target.name)

    def demand_create(self, target: Target, user: str) -> None:
        """A websocket is a GET, which since Kubernetes 1.35 is not enough; but the server does not say what else is."""
        try:
            self.demand("create", target, user)
        except ApiError as error:
            plural, name = target.resource.plural, target.name
            details = {"name": name, "kind": plural}
            raise ApiError(403, f'{plural} "{name}" is forbidden: ', details=details) from error

    def review(self, body: Mapping[str, Any], user: str) -> dict[str, Any]:
        """Answer a SelfSubjectAccessReview as the requests themselves would be answered."""
        asked = (body.get("spec") or {}).get("resourceAttributes") or {}
        resource = asked.get("resource", "")
        if asked.get("subresource"):
            resource = f"{resource}/{asked['subresource']}"
        denied = self._is_denied(asked.get("verb", ""), resource, asked.get("namespace", ""), user)
        status = {"allowed": False} if denied else {"allowed": True, "reason": "RBAC: allowed by the sandbox"}
        return {**body, "metadata": {}, "status": status}

    def _is_denied(self, verb: str, resource: str, namespace: str, user: str) -> bool:
        return any(denial.covers(verb, resource, namespace, user) for denial in self._denials)

    def _authenticated(self, raw: web.BaseRequest) -> str:
        said = raw.headers.get("Authorization")
        if said is not None:
            if said == f"Bearer {self.token}":
                return USER
            raise ApiError(401)
        certificate = raw.transport.get_extra_info("peercert") if raw.transport is not None else None
        if not certificate:
            raise ApiError(401)
        subject = dict(part for (part,) in certificate["subject"])
        return str(subject["commonName"])

"""Refusals in the words of a real API server: `Status` objects."""

from __future__ import annotations

import json
from typing import Any

_REASONS = {
    400: ("BadRequest", "the server rejected our request for an unknown reason"),
    401: ("Unauthorized", "Unauthorized"),
    403: ("Forbidden", "forbidden: User cannot do that"),
    404: ("NotFound", "the server could not find the requested resource"),
    405: ("MethodNotAllowed", "the server does not allow this method on the requested resource"),
    409: ("Conflict", "the object has been modified; please apply your changes to the latest version and try again"),
    410: ("Expired", "The provided continue parameter is too old to display a consistent list result."),
    415: ("UnsupportedMediaType", "the body of the request was in an unknown format"),
    422: ("Invalid", "the server rejected our request due to an error in our request"),
    429: ("TooManyRequests", "Too many requests, please try again later."),
    500: ("InternalError", "Internal error occurred: the sandbox was told to fail"),
    503: ("ServiceUnavailable", "the server is currently unable to handle the request"),
    504: ("Timeout", "Timeout: request did not complete within the allotted timeout"),
}


class ApiError(Exception):
    """An answer that is a refusal."""

    def __init__(
        self,
        code: int,
        message: str = "",
        *,
        reason: str = "",
        details: dict[str, Any] | None = None,
        proceed: str = "",
    ) -> None:
        usual_reason, usual_message = _REASONS.get(code, ("Unknown", "unknown"))
        super().__init__(message or usual_message)
        self.code = code
        self.body: dict[str, Any] = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {"continue": proceed} if proceed else {},
            "status": "Failure",
            "message": message or usual_message,
            "reason": reason or usual_reason,
        }
        if details:
            self.body["details"] = details
        self.body["code"] = code

    @property
    def text(self) -> bytes:
        return json.dumps(self.body).encode()


def not_found(plural: str, group: str, name: str) -> ApiError:
    full = f"{plural}.{group}" if group else plural
    details = {"name": name, "kind": plural} | ({"group": group} if group else {})
    return ApiError(404, f'{full} "{name}" not found', details=details)


def conflict(plural: str, group: str, name: str) -> ApiError:
    full = f"{plural}.{group}" if group else plural
    details = {"name": name, "kind": plural} | ({"group": group} if group else {})
    words = "the object has been modified; please apply your changes to the latest version and try again"
    return ApiError(409, f'Operation cannot be fulfilled on {full} "{name}": {words}', details=details)


def forbidden(user: str, verb: str, resource: str, group: str, namespace: str, name: str) -> ApiError:
    """Speak as RBAC does; `resource` may have a subresource behind a slash."""
    plural = resource.partition("/")[0]
    full = f"{plural}.{group}" if group else plural
    subject = f'{full} "{name}"' if name else full
    where = f'in the namespace "{namespace}"' if namespace else "at the cluster scope"
    message = (
        f'{subject} is forbidden: User "{user}" cannot {verb} resource "{resource}" in API group "{group}" {where}'
    )
    details = ({"name": name} if name else {}) | ({"group": group} if group else {}) | {"kind": plural}
    return ApiError(403, message, details=details)

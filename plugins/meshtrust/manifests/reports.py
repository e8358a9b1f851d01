"""The bug-report of istioctl: which of its files are manifests, and when it was taken."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from meshtrust.manifests.answers import Page

if TYPE_CHECKING:
    from pathlib import PurePath

_RESOURCES = {"k8s-resources", "k8s-cluster-resources"}
_MANIFESTS = _RESOURCES | {"secrets"}  # a table, unless it was asked for with --full-secrets

# Where a file name may have no "?", unpacking put something else there.
_ANSWER = re.compile(
    r"(?:.*/)?(?:proxies|istio)/(?P<namespace>[^/]+)/(?P<pod>[^/]+)"
    r"/(?P<path>certs|config_dump|server_info|debug/syncz)(?:.include_eds)?"
)

# What a living cluster writes anew every few seconds (who leads istiod's controllers) or minutes (each kubelet).
_HEARTBEATS = (
    re.compile(rb"renewTime\W{1,8}(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)"),
    re.compile(rb"lastHeartbeatTime\W{1,8}(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)"),
)


def is_manifest(path: PurePath) -> bool:
    return path.parent.name == "cluster" and path.name in _MANIFESTS


def is_resources(path: PurePath) -> bool:
    """Such a file makes the folder above its own a bug-report."""
    return path.parent.name == "cluster" and path.name in _RESOURCES


def page_in(path: PurePath) -> Page | None:
    """Which answer of a proxy (or of an istiod about its proxies) a file holds."""
    answer = _ANSWER.fullmatch(path.as_posix())
    return Page(**answer.groupdict()) if answer else None


def last_heartbeat(text: bytes) -> datetime | None:
    """The cluster's own clock: unlike the time of a file, it survives copying, and editing a file by hand."""
    for stamp in sorted({stamp for beat in _HEARTBEATS for stamp in beat.findall(text)}, reverse=True):
        try:
            return datetime.fromisoformat(stamp.decode()).replace(tzinfo=UTC)
        except ValueError:  # the 45th of May
            continue
    return None

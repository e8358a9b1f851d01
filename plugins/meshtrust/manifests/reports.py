"""The bug-report of istioctl: which of its files are manifests, and when it was taken."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import PurePath

_RESOURCES = {"k8s-resources", "k8s-cluster-resources"}
_MANIFESTS = _RESOURCES | {"secrets"}  # a table, unless it was asked for with --full-secrets

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


def last_heartbeat(text: bytes) -> datetime | None:
    """The cluster's own clock: unlike the time of a file, it survives copying, and editing a file by hand."""
    for stamp in sorted({stamp for beat in _HEARTBEATS for stamp in beat.findall(text)}, reverse=True):
        try:
            return datetime.fromisoformat(stamp.decode()).replace(tzinfo=UTC)
        except ValueError:  # the 45th of May
            continue
    return None

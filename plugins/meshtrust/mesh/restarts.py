"""The commands that restart what makes pods: one form for each kind, whoever prints it."""

from __future__ import annotations

from shlex import quote
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from meshtrust.objects import Ref

REMADE = frozenset({"ReplicaSet", "ReplicationController"})  # which make another pod where one is deleted
_ROLLED = {"Deployment": "deploy", "DaemonSet": "ds", "StatefulSet": "sts"}


def restart(owner: Ref, pod: str = "") -> str:
    """The command to paste; nothing where there is none. `pod` is to be deleted where its owner only remakes it."""
    name, where = quote(owner.name), f"-n {quote(owner.namespace)}"
    if kind := _ROLLED.get(owner.kind):
        return f"kubectl rollout restart {kind}/{name} {where}"
    if owner.kind == "Rollout":
        # What Argo's plugin of kubectl writes (pkg/kubectl-argo-rollouts/cmd/restart): older pods are evicted.
        at = """{"spec":{"restartAt":"'$(date -u +%Y-%m-%dT%H:%M:%SZ)'"}}"""
        return f"kubectl patch rollouts.argoproj.io/{name} {where} --type merge -p '{at}'"
    if owner.kind == "DeploymentConfig":
        return f"oc rollout latest dc/{name} {where}"
    return f"kubectl delete pod {quote(pod)} {where}" if pod else ""

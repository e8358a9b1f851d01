"""What to do about a proxy: in words, and as a command to paste."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshtrust.mesh import Proxy, ProxyKind, names, restarts

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

RESTART = "restart it: the injector upgrades it"
RESTART_AFTER = "upgrade it, or restart it after the root has changed"
RESTART_PART = "restart it after the root has changed, when the workload Secrets are rewritten"
UPGRADE_CHART = "upgrade its chart"
UPGRADE_GATEWAY = "upgrade it, or restart it where it is injected"
KEPT_BY_ISTIOD = "istiod keeps it: does that istiod run?"
UPGRADE_ISTIOD = "upgrade istiod"
UPGRADE_FIRST = "upgrade its control plane first"
BRING_BACK = "bring its revision back, or move it to another one and restart it"

_BY_RESTART = frozenset({RESTART, RESTART_AFTER, RESTART_PART, UPGRADE_GATEWAY, BRING_BACK})
_MAKES_ANEW = restarts.REMADE | {"Job"}
_TAKES_SEVERAL = ("kubectl rollout restart ", "kubectl delete pod ")
_IN_A_LINE = 10


def renewed(proxy: Proxy) -> str:
    """How a proxy comes to its control plane's release."""
    if proxy.kind in {ProxyKind.WAYPOINT, ProxyKind.AGENTGATEWAY}:
        return KEPT_BY_ISTIOD
    if proxy.kind is ProxyKind.ZTUNNEL or names.CONTROL_PLANE.keys() & proxy.labels.items():
        return UPGRADE_CHART
    return UPGRADE_GATEWAY if proxy.kind is ProxyKind.GATEWAY else RESTART


def restart(proxy: Proxy, cure: str) -> str:
    """The command that restarts a proxy's owner; nothing where a restart is no cure, or nobody would make it anew."""
    if cure not in _BY_RESTART:
        return ""
    return restarts.restart(proxy.owner, proxy.ref.name if proxy.owner.kind in _MAKES_ANEW else "")


def folded(commands: Iterable[str]) -> Iterator[str]:
    """Each command once; those of one namespace in one line, as far as kubectl takes several."""
    groups: dict[tuple[str, str], dict[str, None]] = {}
    for command in commands:
        verb = next((verb for verb in _TAKES_SEVERAL if command.startswith(verb)), "")
        if verb and "'" not in command:  # what had to be quoted stands for itself
            name, _, namespace = command.removeprefix(verb).rpartition(" -n ")
            groups.setdefault((verb, f" -n {namespace}"), {})[name] = None
        else:
            groups.setdefault(("", command), {})[""] = None
    for (verb, rest), owners in groups.items():
        everyone = list(owners)
        for first in range(0, len(everyone), _IN_A_LINE):
            yield f"{verb}{' '.join(everyone[first : first + _IN_A_LINE])}{rest}"

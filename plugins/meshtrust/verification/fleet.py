"""Which proxies are meant: by what was typed, and by the control planes that are judged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from meshtrust.errors import UsageError
from meshtrust.mesh import Mesh, Proxy, ProxyKind, read_proxies, read_ztunnels
from meshtrust.objects import Ref

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from meshtrust.mesh import Look
    from meshtrust.source import Scope

# kubectl's names of what makes pods.
_KINDS = {
    "pod": "Pod",
    "pods": "Pod",
    "po": "Pod",
    "deployment": "Deployment",
    "deployments": "Deployment",
    "deploy": "Deployment",
    "daemonset": "DaemonSet",
    "daemonsets": "DaemonSet",
    "ds": "DaemonSet",
    "statefulset": "StatefulSet",
    "statefulsets": "StatefulSet",
    "sts": "StatefulSet",
    "replicaset": "ReplicaSet",
    "replicasets": "ReplicaSet",
    "rs": "ReplicaSet",
    "job": "Job",
    "jobs": "Job",
    "rollout": "Rollout",
    "rollouts": "Rollout",
}


@dataclass(frozen=True, slots=True)
class Target:
    """`ledger-7d9c-x2x4z.bank`, `deploy/ledger`, `deploy/ledger.bank`; without a namespace it is that name anywhere."""

    kind: str
    name: str
    namespace: str
    typed: str

    def takes(self, proxy: Proxy) -> bool:
        ref = proxy.ref if self.kind == "Pod" else proxy.owner
        if ref.kind != self.kind or self.namespace not in ("", ref.namespace):
            return False
        return ref.name == self.name


@dataclass(frozen=True, slots=True)
class Targets:
    """All of them; none means every proxy."""

    chosen: tuple[Target, ...] = ()

    @classmethod
    def read(cls, arguments: Iterable[str]) -> Targets:
        return cls(tuple(_target(argument) for argument in arguments))

    def __bool__(self) -> bool:
        return bool(self.chosen)

    def __str__(self) -> str:
        return ", ".join(target.typed for target in self.chosen)

    def of(self, proxies: Iterable[Proxy]) -> tuple[Proxy, ...]:
        return tuple(
            proxy for proxy in proxies if not self.chosen or any(target.takes(proxy) for target in self.chosen)
        )

    def missing(self, proxies: Iterable[Proxy]) -> tuple[Target, ...]:
        """Those that name none of these."""
        there = tuple(proxies)
        return tuple(target for target in self.chosen if not any(target.takes(proxy) for proxy in there))


def _target(argument: str) -> Target:
    typed, slash, rest = argument.rpartition("/")
    kind = _KINDS.get(typed.partition(".")[0].lower(), "") if slash else "Pod"
    if not kind:
        known = "pod, deploy, ds, sts, rs, job, rollout"
        raise UsageError(f"{argument!r}: {typed!r} is nothing that makes pods with a proxy", f"write one of {known}")
    # Names of pods and their owners may hold dots, namespaces may not: what follows the last one is the namespace.
    name, _, namespace = rest.rpartition(".") if "." in rest else (rest, "", "")
    if not name:
        raise UsageError(f"{argument!r} names nothing", "write POD, POD.NAMESPACE or TYPE/NAME")
    return Target(kind, name, namespace, argument)


def read_fleet(look: Look, meshes: tuple[Mesh, ...], scope: Scope, selector: str) -> tuple[Proxy, ...]:
    """The proxies of all namespaces, or of one: with them every ztunnel, for it holds identities of that namespace."""
    found = read_proxies(look, scope.namespace, selector)
    if not scope.namespace:
        return found
    ztunnels = read_ztunnels(look, dict.fromkeys(mesh.namespace for mesh in meshes), selector)
    return (*found, *(ztunnel for ztunnel in ztunnels if ztunnel.ref.namespace != scope.namespace))


def absent(
    targets: Targets, selector: str, namespace: str, proxies: tuple[Proxy, ...], *, judged: bool
) -> Iterator[tuple[Ref, str]]:
    """What was asked for and is not there: an argument that names nothing, labels and a namespace without a proxy.

    `judged` says whether anything is told of any proxy: ztunnels may be asked and hold nothing of a namespace.
    """
    where = f" in namespace {namespace}" if namespace else ""
    with_labels = f" in pods with the labels {selector}" if selector else ""
    for target in targets.missing(proxies):
        place = Ref(target.kind, target.namespace or namespace, target.name)
        yield place, f"{target.typed} names no proxy that was found{with_labels}{where}"
    if not targets and not judged:
        yield Ref("Pod", namespace, "*"), f"no proxy was found{with_labels}{where}"


def of_scope(proxies: Iterable[Proxy], meshes: tuple[Mesh, ...], scope: Scope) -> tuple[Proxy, ...]:
    """Proxies, not parts of the control plane; with `-i` or `-r`, only those of that one."""
    homes, narrowed = {mesh.namespace for mesh in meshes}, bool(scope.istio_namespace or scope.revision)
    return tuple(
        proxy
        for proxy in proxies
        if proxy.kind is not ProxyKind.CONTROL_PLANE
        and not (narrowed and proxy.home and proxy.home not in homes)
        and not (scope.revision and proxy.revision not in ("", scope.revision))
    )

"""A cluster that reacts: controllers, a kubelet, and what runs in the pods, each by the clock of a `Lively`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sandbox import building, control_planes
from sandbox.reactions.citadel import Citadel
from sandbox.reactions.cluster import Cluster
from sandbox.reactions.daemonsets import DaemonSets
from sandbox.reactions.deployments import Deployments
from sandbox.reactions.istiod import Istiod
from sandbox.reactions.mounted import Injector, Mounted
from sandbox.reactions.programs import Kubelet, Plain, Program
from sandbox.reactions.proxies import Envoy, Ztunnel
from sandbox.reactions.replicas import place_of

if TYPE_CHECKING:
    from sandbox.api import Api
    from sandbox.lively import Lively
    from sandbox.mesh import Mesh
    from sandbox.shapes import Body


class Reactions:
    """All that happens in one server beside its answers; made and ended in its loop."""

    def __init__(self, api: Api, mesh: Mesh, lively: Lively) -> None:
        meshes = (mesh, *mesh.others)
        self.cluster = Cluster(api.store, lively, meshes, building.pods_of(mesh), api.admins, api.now)
        self._kubelet = Kubelet(self.cluster, self._program)
        for controller in (Deployments(self.cluster, self._kubelet), DaemonSets(self.cluster, self._kubelet)):
            api.store.listeners.append(controller.see)
        # The first that is described is the first at work: it has the lock.
        first = [place for part in meshes if part.era != "none" for place in control_planes.places(part)]
        pods = {place_of(pod): pod for pod in self.cluster.every("Pod")}
        for place in dict.fromkeys((*first, *pods)):
            if place in pods:
                self._kubelet.adopt(pods[place])

    def tick(self) -> None:
        """Let the rotator of every CA look at its Secret now."""
        for program in tuple(self.cluster.programs.values()):
            if isinstance(program, Istiod | Citadel):
                program.tick()

    def renew(self, namespace: str, pod: str) -> None:
        """Let a proxy ask for new certificates now."""
        program = self.cluster.programs[namespace, pod]
        if not isinstance(program, Envoy | Mounted | Ztunnel):
            raise TypeError(f"{namespace}/{pod} is no proxy that renews")
        program.due.set()

    def _program(self, pod: Body) -> Program:
        place = place_of(pod)
        home = self.cluster.mesh_of(place[0])
        names = {one["name"] for one in pod["spec"]["containers"]}
        if home is not None and "discovery" in names and pod["metadata"]["labels"].get("app") == "istiod":
            return Istiod(self.cluster, home, pod)
        if home is not None and "citadel" in names:
            return Citadel(self.cluster, home, pod)
        if home is not None and "sidecar-injector-webhook" in names:
            return Injector(self.cluster, home)
        if place not in self.cluster.proxies:
            return Plain()
        mesh, proxy = self.cluster.proxies[place]
        kind = Ztunnel if proxy.kind == "ztunnel" else Mounted if mesh.era == "citadel" else Envoy
        return kind(self.cluster, mesh, proxy)

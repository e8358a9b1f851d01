"""Every proxy of the mesh and every part of its control plane, found in the pods: one list, a page at a time."""

from __future__ import annotations

import re
from contextlib import suppress
from functools import lru_cache
from sys import intern
from typing import TYPE_CHECKING, Any

from meshtrust.errors import NotAllowed, Unseen
from meshtrust.mesh import names
from meshtrust.mesh.model import Gap, Proxy, ProxyKind, RevisionFrom, Sight, VersionFrom
from meshtrust.objects import KubeObject, Ref, Unread
from meshtrust.versions import image_version

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from meshtrust.mesh.look import Look
    from meshtrust.versions import IstioVersion

    Container = Mapping[str, Any]

_FINISHED = frozenset({"Succeeded", "Failed"})
_HOST = re.compile(
    r"(?:[a-z]+://)?(?:istiod|istio-pilot|istio-citadel)(?:-([a-z0-9][-a-z0-9]*))?(?:\.([a-z0-9][-a-z0-9]*)(?=\.svc|:|$)|:|$)"
)
_DISCOVERY = re.compile(r"""discoveryAddress["']?\s*:\s*["']?([^"'\s,}]+)""")
_ADMIN_PORT = re.compile(r"""proxyAdminPort["']?\s*:\s*["']?(\d{1,5})\b""")
_GRACE = re.compile(names.GRACE_RATIO + r"""["']?\s*:\s*["']?([0-9.]+)""")
_REVISION = re.compile(r'"revision"\s*:\s*"([^"]*)"')
_OPTIONS = frozenset({names.CONTROL_PLANE_AUTH_ARGUMENT, names.DISCOVERY_ARGUMENT, names.ADMIN_PORT_ARGUMENT})
_READ = frozenset(
    {*names.CA_ADDRESSES, names.FILE_MOUNTED, names.GRACE_RATIO, names.PROXY_CONFIG, names.ZTUNNEL_ADMIN},
)


def read_proxies(look: Look, namespace: str = "", selector: str = "") -> tuple[Proxy, ...]:
    """Find every proxy and every part of the control plane in all namespaces, or in one; the pods are not kept.

    What may not be read is a gap. Raises `Unreachable` where the first question had no answer.
    """
    return tuple(proxy for pod in _pods(look, namespace, selector) for proxy in _proxies_of(pod))


def read_ztunnels(look: Look, homes: Iterable[str], selector: str = "") -> tuple[Proxy, ...]:
    """Find every ztunnel, wherever it runs; where that list is refused, those of the homes alone, and that is said."""
    wanted = ",".join(filter(None, (selector, f"app={names.ZTUNNEL}")))
    try:
        pods = tuple(_listed(look, "", wanted))
    except NotAllowed as refused:
        places = tuple(homes)
        look.remarks.append(f"{refused.message}: ztunnels were looked for in {', '.join(places)} only")
        pods = tuple(pod for place in places for pod in _pods(look, place, wanted))
    except Unseen as error:
        look.gaps.append(Gap(Ref("Pod", "", "*"), Sight.PROXIES, error.message))
        return ()
    found = (proxy for pod in pods for proxy in _proxies_of(pod))
    return tuple(proxy for proxy in found if proxy.kind is ProxyKind.ZTUNNEL)


def control_planes_of(proxy: Proxy, candidates: tuple[Proxy, ...]) -> tuple[Proxy, ...]:
    """Which parts of the control plane a proxy belongs to: those of its home and revision, as far as it tells them."""
    if proxy.home:
        candidates = tuple(one for one in candidates if one.ref.namespace == proxy.home)
    if proxy.revision:
        wanted = {proxy.revision} | ({""} if proxy.revision == names.DEFAULT_REVISION else set())
        candidates = tuple(one for one in candidates if one.revision in wanted)
    return candidates


def _pods(look: Look, namespace: str, selector: str) -> Iterator[KubeObject]:
    """One list; where that of the whole cluster is refused, each namespace is asked for itself."""
    seen = False
    try:
        for pod in _listed(look, namespace, selector):
            seen = True
            yield pod
    except Unseen as refused:
        if isinstance(refused, NotAllowed) and not seen and not namespace:
            yield from _pods_by_namespace(look, selector, refused)
        elif isinstance(refused, NotAllowed) or seen:
            look.gaps.append(Gap(Ref("Pod", namespace, "*"), Sight.PROXIES, refused.message))
        else:
            raise


def _pods_by_namespace(look: Look, selector: str, refused: NotAllowed) -> Iterator[KubeObject]:
    """Where the same right is missing in several namespaces it is one reason, which says in how many."""
    closed: dict[Ref, str] = {}
    try:
        places = [found.ref.name for found in look.source.objects("Namespace")]
        look.remarks.append(f"{refused.message}: each of {len(places)} namespaces was asked for itself")
    except Unseen:
        places = list(names.HOMES)
        look.gaps.append(Gap(Ref("Pod", "", "*"), Sight.PROXIES, refused.message))
    for place in places:
        try:
            yield from _listed(look, place, selector)
        except NotAllowed as error:
            closed[Ref("Pod", place, "*")] = error.message
        except Unseen as error:
            look.gaps.append(Gap(Ref("Pod", place, "*"), Sight.PROXIES, error.message))
    number = "any" if len(closed) == len(places) else len(closed)
    every = f"{refused.message}, nor in {number} of {len(places)} namespaces"
    look.gaps += [Gap(ref, Sight.PROXIES, every if len(closed) > 1 else why) for ref, why in closed.items()]


def _listed(look: Look, namespace: str, selector: str) -> Iterator[KubeObject]:
    for found in look.source.objects("Pod", namespace=namespace, selector=selector):
        if isinstance(found, Unread):
            look.gaps.append(Gap(found.ref, Sight.PROXIES, found.why))
        else:
            yield found


def _proxies_of(pod: KubeObject) -> Iterator[Proxy]:
    if pod.body.get("status", {}).get("phase") in _FINISHED:
        return
    spec, labels = pod.body.get("spec", {}), pod.labels
    core = _control_plane_containers(labels)
    for container in spec.get("containers") or ():
        if kind := _kind(container, pod, core):
            yield _proxy(pod, container, kind, native=False, core=bool(core))
    for container in spec.get("initContainers") or ():
        if container.get("restartPolicy") == "Always" and (kind := _kind(container, pod, core)):
            yield _proxy(pod, container, kind, native=True, core=bool(core))


def _control_plane_containers(labels: Mapping[str, str]) -> frozenset[str]:
    for key in ("app", "istio"):
        if containers := names.CONTROL_PLANE.get((key, labels.get(key, ""))):
            return containers
    return frozenset()


def _kind(container: Container, pod: KubeObject, core: frozenset[str]) -> ProxyKind | None:
    """What a container is; None for everything that has no Istio in it, and for helpers with the same image."""
    name, arguments = container.get("name", ""), container.get("args") or []
    if name in core:
        return ProxyKind.CONTROL_PLANE
    if name == names.AGENTGATEWAY:
        return ProxyKind.AGENTGATEWAY if _of_istio(pod.labels) else None
    role = arguments[1] if arguments[:1] == [names.PROXY_ARGUMENT] and len(arguments) > 1 else ""
    if name != names.PROXY_CONTAINER and role not in names.GATEWAY_ROLES:
        return None
    return _kind_of_proxy(role, container, pod)


def _kind_of_proxy(role: str, container: Container, pod: KubeObject) -> ProxyKind:
    labels = pod.labels
    if role == names.ZTUNNEL or names.ZTUNNEL in (labels.get("app"), labels.get("app.kubernetes.io/name")):
        return ProxyKind.ZTUNNEL
    if role == names.WAYPOINT_ROLE or labels.get(names.GATEWAY_CLASS) == names.WAYPOINT_CLASS:
        return ProxyKind.WAYPOINT
    if names.GATEWAY_CLASS in labels and names.AGENTGATEWAY in container.get("image", ""):
        return ProxyKind.AGENTGATEWAY
    if role in names.GATEWAY_ROLES or names.GATEWAY_NAME in labels:
        return ProxyKind.GATEWAY
    templates = pod.annotations.get(names.TEMPLATES) or labels.get(names.TEMPLATES) or ""
    return ProxyKind.PROXYLESS if names.PROXYLESS_TEMPLATE in templates.split(",") else ProxyKind.SIDECAR


def _of_istio(labels: Mapping[str, str]) -> bool:
    """Other products run an agentgateway, too."""
    return names.MANAGED_GATEWAY in labels or labels.get(names.GATEWAY_CLASS, "").startswith("istio")


def _proxy(pod: KubeObject, container: Container, kind: ProxyKind, *, native: bool, core: bool) -> Proxy:
    spec, status = pod.body.get("spec", {}), pod.body.get("status", {})
    image, arguments = container.get("image", ""), container.get("args") or []
    env = {one["name"]: one.get("value", "") for one in container.get("env") or () if one.get("name") in _READ}
    options = _options(arguments)
    running = _container_status(status, container.get("name", ""), native=native)
    version, version_from = _version(image, running)
    address = next((env[name] for name in names.CA_ADDRESSES if env.get(name)), "")
    home, named = _home(pod.ref.namespace, address, env, options)
    signer, mounted = _outside(spec)
    revision, revision_from = _revision(pod, named)
    return Proxy(
        ref=pod.ref,
        kind=kind,
        container=intern(container.get("name", "")),
        native=native,
        image=intern(image),
        version=version,
        version_from=version_from,
        revision=intern(revision),
        revision_from=revision_from,
        owner=_shared(_owner(pod)),
        idle=_idle(status, running),
        ending=bool(pod.body["metadata"].get("deletionTimestamp")),
        has_ip=bool(status.get("podIP")),
        account=intern(spec.get("serviceAccountName", "")),
        admin_port=_admin_port(pod, env, options),
        node=intern(spec.get("nodeName", "")),
        home=pod.ref.namespace if core else intern(home),
        signer=signer or _other_signer(env, address),
        mounted=mounted,
        secures_control_plane=options.get(names.CONTROL_PLANE_AUTH_ARGUMENT) == "MUTUAL_TLS",
        labels=_labels(tuple(pod.labels.items())),
        arguments=(*(container.get("command") or ()), *arguments) if kind is ProxyKind.CONTROL_PLANE else (),
        grace=_grace(pod, env),
    )


# Thousands of pods say the same: one object for all that are equal.


@lru_cache(maxsize=4096)
def _shared(owner: Ref) -> Ref:
    return owner


@lru_cache(maxsize=4096)
def _labels(pairs: tuple[tuple[str, str], ...]) -> Mapping[str, str]:
    return dict(pairs)


def _container_status(status: Mapping[str, Any], name: str, *, native: bool) -> Mapping[str, Any]:
    known = status.get("initContainerStatuses" if native else "containerStatuses") or ()
    return next((one for one in known if one.get("name") == name), {})


def _version(image: str, running: Mapping[str, Any]) -> tuple[IstioVersion | None, VersionFrom]:
    """The tag as it is written; else the name under which the node knows what it runs, which may be another tag."""
    if version := image_version(image):
        return version, VersionFrom.TAG
    if version := image_version(running.get("image", "")):
        return version, VersionFrom.STATUS
    return None, VersionFrom.NOBODY


def _idle(status: Mapping[str, Any], running: Mapping[str, Any]) -> str:
    phase = status.get("phase", "")
    state = running.get("state", {})
    if phase == "Running" and (state.get("running") is not None or not running):
        return ""
    for stop in ("waiting", "terminated"):
        if why := (state.get(stop) or {}).get("reason", ""):
            return str(why)
    return phase if phase not in ("", "Running") else "its status is not known"


def _home(namespace: str, address: str, env: Mapping[str, str], options: Mapping[str, str]) -> tuple[str, str]:
    """The namespace of its control plane (its own, where none is said), and the revision where the name has one."""
    discovery = options.get(names.DISCOVERY_ARGUMENT, "")
    if not discovery and (told := _DISCOVERY.search(env.get(names.PROXY_CONFIG, ""))):
        discovery = told[1]
    for told_by in (address, discovery):
        if host := _HOST.match(told_by):
            return host[2] or namespace, host[1] if host[1] and host[1] != "remote" else ""
    return "", ""


def _revision(pod: KubeObject, named: str) -> tuple[str, RevisionFrom]:
    """What the injector wrote comes before a label, which may be a tag: another name of a revision."""
    annotations = pod.annotations
    if revision := annotations.get(names.REVISION, ""):
        return revision, RevisionFrom.ANNOTATION
    if (told := _REVISION.search(annotations.get(names.STATUS, ""))) and told[1]:
        return told[1], RevisionFrom.INJECTION
    if revision := pod.labels.get(names.REVISION, ""):
        return revision, RevisionFrom.LABEL
    return (named, RevisionFrom.ADDRESS) if named else ("", RevisionFrom.NOBODY)


def _owner(pod: KubeObject) -> Ref:
    """What to restart: of a Deployment's pods that, and not the ReplicaSet between them."""
    owners = pod.body["metadata"].get("ownerReferences") or ()
    owner = next((one for one in owners if one.get("controller")), owners[0] if owners else {})
    kind, name, labels = owner.get("kind", ""), owner.get("name", ""), pod.labels
    if not name:
        return pod.ref
    if kind == "ReplicaSet":
        above, _, made_for = name.rpartition("-")
        if made_for and labels.get("pod-template-hash") == made_for:
            return Ref("Deployment", pod.ref.namespace, above)
        if made_for and labels.get("rollouts-pod-template-hash") == made_for:
            return Ref("Rollout", pod.ref.namespace, above)
    if kind == "ReplicationController" and (config := labels.get("deploymentconfig")):
        return Ref("DeploymentConfig", pod.ref.namespace, config)
    return Ref(kind, pod.ref.namespace, name)


def _admin_port(pod: KubeObject, env: Mapping[str, str], options: Mapping[str, str]) -> int:
    if (option := options.get(names.ADMIN_PORT_ARGUMENT, "")).isdecimal():
        return int(option)
    for text in (env.get(names.PROXY_CONFIG, ""), pod.annotations.get(names.PROXY_CONFIG_ANNOTATION, "")):
        if told := _ADMIN_PORT.search(text):
            return int(told[1])
    port = env.get(names.ZTUNNEL_ADMIN, "").rpartition(":")[2]
    return int(port) if port.isdecimal() else names.ADMIN_PORT


def _grace(pod: KubeObject, env: Mapping[str, str]) -> float:
    """As the agent takes it: from its environment, where the injector also puts what `proxyMetadata` says."""
    config = env.get(names.PROXY_CONFIG, ""), pod.annotations.get(names.PROXY_CONFIG_ANNOTATION, "")
    told = (env.get(names.GRACE_RATIO, ""), *(found[1] for text in config if (found := _GRACE.search(text))))
    for text in told:
        with suppress(ValueError):
            if 0 <= (share := float(text)) <= 1:
                return share
    return names.DEFAULT_GRACE_RATIO


def _outside(spec: Mapping[str, Any]) -> tuple[str, str]:
    """Who signs for it by a volume, and the Secret that is mounted as its certificate."""
    signer = mounted = ""
    for volume in spec.get("volumes") or ():
        if len(volume) == 1:  # its name alone: nothing from outside the pod
            continue
        driver = (volume.get("csi") or {}).get("driver", "")
        socket = driver or (volume.get("hostPath") or {}).get("path", "")
        secret = (volume.get("secret") or {}).get("secretName", "")
        if driver == names.SPIRE_DRIVER or (socket and volume.get("name") == names.WORKLOAD_SOCKET):
            signer = f"SPIRE ({socket})"
        elif driver == names.GOOGLE_DRIVER:
            signer = f"Google ({driver})"
        elif secret.startswith(names.WORKLOAD_SECRET):
            mounted = secret
    return signer, mounted


def _other_signer(env: Mapping[str, str], address: str) -> str:
    if env.get(names.FILE_MOUNTED, "").lower() == "true":
        return names.FILE_MOUNTED
    return address if address and not _HOST.match(address) else ""


def _options(arguments: list[str]) -> Mapping[str, str]:
    """The values of the options that matter, `--name value` or `--name=value`, the last one of each."""
    found = {}
    for number, argument in enumerate(arguments):
        name, equals, value = argument.partition("=")
        if name in _OPTIONS:
            found[name] = value if equals else "".join(arguments[number + 1 : number + 2])
    return found

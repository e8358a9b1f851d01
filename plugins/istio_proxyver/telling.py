"""Asking for versions that no image tells: istiod knows its connected proxies, and each proxy knows itself.

Both are asked through a forwarded port (`create pods/portforward`). istiod comes first: the right for its pods alone,
in one namespace, tells of most proxies at once. (The API server's pod proxy would not do: istiod answers that question
to localhost, or to a token, and Envoy's admin interface listens on localhost.)
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import msgspec

from meshtrust.errors import ToolError
from meshtrust.mesh import Gap, Proxy, ProxyKind, Sight, VersionFrom, names
from meshtrust.versions import parse_version

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from meshtrust.source import Source
    from meshtrust.versions import IstioVersion

_AT_ONCE = 16
_DEBUG_PORT, _MONITORING_PORT = 8080, 15014
_SHOWN = 80  # letters of an image's name in a sentence


class _Connected(msgspec.Struct):
    """A proxy in `debug/syncz`. Its `proxy_version` of Istio 1.1-1.4 is ISTIO_PROXY_VERSION, which lies (1.1.8)."""

    proxy: str = ""
    istio_version: str = ""


@dataclass(frozen=True, slots=True)
class Told:
    """The proxies whose version was told, and why it was not of the others."""

    proxies: tuple[Proxy, ...] = ()
    gaps: tuple[Gap, ...] = ()


@dataclass(frozen=True, slots=True)
class _Answer:
    version: IstioVersion | None = None
    told_by: VersionFrom = VersionFrom.NOBODY
    why: str = ""


def tell_versions(source: Source, proxies: tuple[Proxy, ...]) -> Told:
    """Ask for the versions that are not known."""
    silent = tuple(one for one in proxies if one.version is None and one.kind is not ProxyKind.AGENTGATEWAY)
    if not silent:
        return Told()
    connected, refused = _connected(source, proxies) if any(_is_proxy(one) for one in silent) else ({}, "")

    def ask(one: Proxy) -> _Answer:
        key = f"{one.ref.name}.{one.ref.namespace}"
        if _is_proxy(one) and key in connected:
            return _Answer(connected[key], VersionFrom.ISTIOD)
        return _ask(source, one, refused)

    with ThreadPoolExecutor(min(_AT_ONCE, len(silent))) as pool:
        answers = tuple(zip(silent, pool.map(ask, silent), strict=True))
    return Told(
        tuple(replace(one, version=it.version, version_from=it.told_by) for one, it in answers if it.version),
        tuple(Gap(one.place, _sight(one), it.why) for one, it in answers if it.version is None),
    )


def _is_proxy(one: Proxy) -> bool:
    return one.kind is not ProxyKind.CONTROL_PLANE


def _sight(one: Proxy) -> Sight:
    return Sight.VERSIONS if _is_proxy(one) else Sight.CONTROL_PLANE_VERSION


def _connected(source: Source, proxies: Iterable[Proxy]) -> tuple[Mapping[str, IstioVersion], str]:
    """What every istiod says of the proxies that hang on it, by `pod.namespace`; and why one said nothing."""
    found: dict[str, IstioVersion] = {}
    refused = ""
    for part in proxies:
        if part.kind is not ProxyKind.CONTROL_PLANE or part.container != names.ISTIOD_CONTAINER or not part.running:
            continue
        try:
            answer = source.proxy_admin(part.ref, "debug/syncz", port=_DEBUG_PORT, container=part.container)
            told = msgspec.json.decode(answer, type=list[_Connected])
        except ToolError as error:
            refused = error.message
        except msgspec.DecodeError:
            refused = f"{part.ref} answered with something else than a list of proxies"
        else:
            versions = ((one.proxy, parse_version(one.istio_version)) for one in told)
            found.update({proxy: version for proxy, version in versions if version})
    return found, refused


def _ask(source: Source, one: Proxy, refused: str) -> _Answer:
    why = [_silence(one)]
    if _is_proxy(one):
        why.append(f"istiod does not either: {refused}" if refused else "no istiod has it connected")
    if not one.running:
        return _Answer(why=f"{', '.join(why)}, and it does not run ({one.idle})")
    if one.kind is ProxyKind.PROXYLESS:
        return _Answer(why=f"{', '.join(why)}, and it has no Envoy to ask")
    try:
        text = _of_part(source, one) if not _is_proxy(one) else _of_itself(source, one)
    except ToolError as error:
        return _Answer(why=f"{', '.join(why)}, and it could not be asked: {error.message}")
    except msgspec.DecodeError:
        return _Answer(why=f"{', '.join(why)}, and its own answer is not JSON")
    version = parse_version(text)
    said = f"and it says {text[:_SHOWN]!r} itself" if text else "and it does not say itself"
    return _Answer(version, VersionFrom.PROXY) if version else _Answer(why=f"{', '.join(why)}, {said}")


def _silence(one: Proxy) -> str:
    image = one.image if len(one.image) <= _SHOWN else f"{one.image[:_SHOWN]}..."
    return f"its image {image} does not tell the version" if image else "it names no image"


def _of_part(source: Source, one: Proxy) -> str:
    """Any part of a control plane since 1.1: `1.31.0-eed52ebb66ad-Clean`."""
    answer = source.proxy_admin(one.ref, "version", port=_MONITORING_PORT, container=one.container)
    return answer.decode(errors="replace").strip()


def _of_itself(source: Source, one: Proxy) -> str:
    if one.kind is ProxyKind.ZTUNNEL:
        told = _admin(source, one, "config_dump").get("version")
        words = told if isinstance(told, dict) else {}
        return str(words.get("istioVersion") or words.get("istio_version") or "")  # 1.18-1.21 wrote it so
    # Envoy's own `version` is Envoy's. Those before 1.16 tell their node in the bootstrap alone.
    if version := _of_node(_admin(source, one, "server_info")):
        return version
    configs = _admin(source, one, "config_dump?mask=bootstrap").get("configs")
    bootstraps = (
        [part.get("bootstrap") for part in configs if isinstance(part, dict)] if isinstance(configs, list) else []
    )
    return next((version for part in bootstraps if (version := _of_node(part))), "")


def _of_node(holder: object) -> str:
    """`ISTIO_VERSION` in the node's metadata; never `ISTIO_PROXY_VERSION`, which says 1.1.3 in an image 1.1.8."""
    node = holder.get("node") if isinstance(holder, dict) else None
    metadata = node.get("metadata") if isinstance(node, dict) else None
    version = metadata.get("ISTIO_VERSION") if isinstance(metadata, dict) else None
    return version if isinstance(version, str) else ""


def _admin(source: Source, one: Proxy, path: str) -> Mapping[str, Any]:
    answer = source.proxy_admin(one.ref, path, port=one.admin_port, container=one.container)
    told = msgspec.json.decode(answer[max(answer.find(b"{"), 0) :])  # pilot-agent may print a line before it
    return told if isinstance(told, dict) else {}

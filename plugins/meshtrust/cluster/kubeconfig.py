"""Kubeconfig files, and the service account of a pod: which context is chosen, in the way of client-go."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar

import msgspec

from meshtrust.cluster.context import ClusterEntry, Context, ContextEntry, UserEntry, with_options
from meshtrust.cluster.official import (
    ConfigException,
    Configuration,
    InClusterConfigLoader,
    KubeConfigMerger,
    YAMLError,
)
from meshtrust.errors import ToolError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from meshtrust.cluster.connection import Connection

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")

Entry = TypeVar("Entry", ContextEntry, ClusterEntry, UserEntry)


class _Named(TypedDict):
    name: str


_Structure = TypedDict(
    "_Structure",
    {
        "clusters": list[_Named] | None,
        "contexts": list[_Named] | None,
        "users": list[_Named] | None,
        "current-context": str | None,
    },
    total=False,
)

_FILES = ("certificate-authority", "client-certificate", "client-key", "tokenFile")


def read_context(connection: Connection, service_account: Path = SERVICE_ACCOUNT) -> Context:
    """Choose as kubectl does: options over kubeconfig over the pod that this may run in."""
    files = _read_files(connection)
    context = _chosen(files, connection) or _of_pod(service_account)
    if context is None and files.contexts:
        raise ToolError("no current context is set", f"give --context NAME; there are: {', '.join(files.contexts)}")
    if context is None:
        looked_at = os.environ.get("KUBECONFIG") or "~/.kube/config"
        raise ToolError(
            f"no cluster to ask: {looked_at} names none, and this is not a pod",
            "set KUBECONFIG, or give --kubeconfig FILE or --server URL",
        )
    return with_options(context, connection)


def names_in(section: str, connection: Connection) -> tuple[str, ...]:
    """List the contexts, clusters or users that could be chosen."""
    return _read_files(connection).names(section)


class _Files:
    """Kubeconfig files, merged: of two entries with one name the first counts."""

    def __init__(self) -> None:
        self._merger = KubeConfigMerger("")

    def add(self, path: Path) -> None:
        """Add one file. Not given to the merger as a list: it would split a path at every colon."""
        try:
            self._merger.load_config(str(path))
            msgspec.convert(self._merger.config_files[str(path)], _Structure)
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "not text in UTF-8"
            raise ToolError(f"kubeconfig {path}: {why}", "is it the file that you meant?") from error
        except YAMLError as error:
            raise ToolError(f"kubeconfig {path} is not YAML: {' '.join(str(error).split())}", "repair it") from error
        except (AttributeError, KeyError, TypeError, msgspec.ValidationError) as error:
            # The first three are the merger's, which takes the structure for granted.
            raise ToolError(
                f"kubeconfig {path} does not have the structure of one",
                "clusters, users and contexts are lists of entries with a name",
            ) from error

    @property
    def current_context(self) -> str:
        # The first file that sets one, as kubectl has it; the official merger takes the last.
        named = (file.get("current-context") for file in self._merger.config_files.values())
        return next((name for name in named if name), "")

    @property
    def contexts(self) -> tuple[str, ...]:
        return self.names("contexts")

    def names(self, section: str) -> tuple[str, ...]:
        merged = self._merger.config
        return tuple(node.value["name"] for node in merged[section].value) if merged else ()

    def find(self, section: str, name: str, shape: type[Entry]) -> Entry | None:
        node = self._merger.config[section].get_with_name(name, safe=True) if self._merger.config else None
        if node is None:
            return None
        part = section.removesuffix("s")
        try:
            said = {key: value for key, value in (node.value.get(part) or {}).items() if value not in (None, "")}
            entry: Entry = msgspec.convert(_absolute(said, Path(node.path).absolute().parent), shape)
        except (AttributeError, msgspec.ValidationError) as error:
            why = str(error) if isinstance(error, msgspec.ValidationError) else "not a mapping"
            raise ToolError(
                f'kubeconfig {node.path}: {part} "{name}": {why}',
                "a text that looks like a number or a date wants quotes",
            ) from error
        return entry


def _read_files(connection: Connection) -> _Files:
    files = _Files()
    if connection.kubeconfig:
        path = Path(connection.kubeconfig)
        try:
            files.add(path)
        except ConfigException as error:
            raise ToolError(f"kubeconfig {path} is empty", "kubectl config view shows what kubectl reads") from error
        return files
    listed = os.environ.get("KUBECONFIG")
    entries = listed.split(os.pathsep) if listed else (Path("~/.kube/config").expanduser(),)
    for path in dict.fromkeys(Path(entry) for entry in entries if entry):
        if path.exists():
            try:
                files.add(path)
            except ConfigException:  # empty: kubectl passes over it too
                continue
    return files


def _absolute(entry: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Paths of an entry are relative to the file that it stands in; so is a command that is not looked up on PATH."""
    resolved: dict[str, Any] = {key: str(folder / entry[key]) for key in _FILES if isinstance(entry.get(key), str)}
    plugin = entry.get("exec")
    if isinstance(plugin, dict) and "/" in str(plugin.get("command", "")):
        resolved["exec"] = {**plugin, "command": str(folder / str(plugin["command"]))}
    return {**entry, **resolved}


def _chosen(files: _Files, connection: Connection) -> Context | None:
    name = connection.context or files.current_context
    entry = files.find("contexts", name, ContextEntry) if name else ContextEntry()
    if entry is None:
        raise ToolError(f'context "{name}" does not exist', f"there are: {', '.join(files.contexts) or 'none'}")
    cluster_name = connection.cluster or entry.get("cluster", "")
    user_name = connection.user or entry.get("user", "")
    if not cluster_name and not connection.server:
        return None
    cluster = files.find("clusters", cluster_name, ClusterEntry) if cluster_name else ClusterEntry()
    if cluster is None:
        raise ToolError(f'cluster "{cluster_name}" does not exist', "kubectl config get-clusters lists them")
    user = files.find("users", user_name, UserEntry) if user_name else UserEntry()
    if user is None:
        raise ToolError(f'user "{user_name}" does not exist', "kubectl config get-users lists them")
    return Context(name, entry.get("namespace", "default"), user_name, cluster, user)


def _of_pod(service_account: Path) -> Context | None:
    token, authority = service_account / "token", service_account / "ca.crt"
    configuration = Configuration()
    try:
        InClusterConfigLoader(token, authority, try_refresh_token=False).load_and_set(configuration)
    except ConfigException:
        return None
    namespace = os.environ.get("POD_NAMESPACE", "")
    if not namespace and (file := service_account / "namespace").exists():
        namespace = file.read_text().strip()
    return Context(
        name="",
        namespace=namespace or "default",
        user_name="",
        cluster={"server": configuration.host, "certificate-authority": str(authority)},
        user={"tokenFile": str(token)},
    )

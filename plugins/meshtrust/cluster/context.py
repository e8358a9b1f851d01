"""One cluster and one user of a kubeconfig, with kubectl's options applied and checked, in the way of client-go."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict
from urllib.parse import urlsplit

from meshtrust.cluster.official import urllib3
from meshtrust.errors import ToolError

if TYPE_CHECKING:
    from meshtrust.cluster.connection import Connection

# The keys of kubeconfig entries that are read, with their types; what else stands there is left out.


class ContextEntry(TypedDict, total=False):
    cluster: str
    user: str
    namespace: str


class ExecVariable(TypedDict):
    name: str
    value: str


class Exec(TypedDict, total=False):
    command: str
    args: list[str] | None
    env: list[ExecVariable] | None
    apiVersion: str
    installHint: str | None
    provideClusterInfo: bool | None


ClusterEntry = TypedDict(
    "ClusterEntry",
    {
        "server": str,
        "tls-server-name": str,
        "insecure-skip-tls-verify": bool,
        "certificate-authority": str,
        "certificate-authority-data": str,
        "proxy-url": str,
        "extensions": Any,
    },
    total=False,
)
UserEntry = TypedDict(
    "UserEntry",
    {
        "client-certificate": str,
        "client-certificate-data": str,
        "client-key": str,
        "client-key-data": str,
        "token": str,
        "tokenFile": str,
        "username": str,
        "password": str,
        "as": str,
        "as-uid": str,
        "as-groups": list[str],
        "as-user-extra": dict[str, list[str]],
        "auth-provider": Any,
        "exec": Exec,
    },
    total=False,
)


@dataclass(frozen=True, slots=True)
class Context:
    """Which cluster, as whom. All paths are absolute; in a pod it has no name."""

    name: str
    namespace: str
    user_name: str
    cluster: ClusterEntry = field(repr=False)
    user: UserEntry = field(repr=False)

    @property
    def server(self) -> str:
        return self.cluster["server"]

    @property
    def address(self) -> str:
        return urlsplit(self.server).netloc.rpartition("@")[2]

    @property
    def host(self) -> str:
        return urlsplit(self.server).hostname or ""

    @property
    def described(self) -> str:
        """Both what it is called and where it leads; a password in the URL is left out."""
        url = urlsplit(self.server)
        place = f"{url.scheme}://{self.address}{url.path}"
        return f"{self} ({place})" if self.name else place

    @property
    def who(self) -> str:
        return f'user "{self.user_name}" of {self}' if self.user_name else str(self)

    @property
    def secure(self) -> bool:
        return self.server.startswith("https://")

    def __str__(self) -> str:
        return f'context "{self.name}"' if self.name else "this connection"


def with_options(context: Context, connection: Connection) -> Context:
    """Apply what kubectl's options say of the cluster and of the user; refuse what kubectl refuses."""
    cluster = _with_cluster_options(context.cluster, connection)
    user = _with_user_options(context.user, connection)
    context = replace(context, cluster=cluster, user=user)
    _check_cluster(context)
    _check_user(context)
    for key, text in (*cluster.items(), *user.items()):
        if key.endswith("-data"):
            _check_base64(key, str(text), context)
    return replace(context, cluster={**cluster, "server": _url(context)})


def _with_cluster_options(entry: ClusterEntry, connection: Connection) -> ClusterEntry:
    cluster = entry.copy()
    if connection.server:
        cluster["server"] = connection.server
        cluster.pop("tls-server-name", None)  # it was the name of another server
    if connection.tls_server_name:
        cluster["tls-server-name"] = connection.tls_server_name
    if connection.insecure_skip_tls_verify or connection.certificate_authority:
        cluster.pop("insecure-skip-tls-verify", None)
        cluster.pop("certificate-authority", None)
        cluster.pop("certificate-authority-data", None)
    if connection.certificate_authority:
        cluster["certificate-authority"] = str(Path(connection.certificate_authority).absolute())
    if connection.insecure_skip_tls_verify is not None:
        cluster["insecure-skip-tls-verify"] = connection.insecure_skip_tls_verify
    return cluster


def _with_user_options(entry: UserEntry, connection: Connection) -> UserEntry:
    user = entry.copy()
    if connection.token:
        user["token"] = connection.token
        user.pop("tokenFile", None)
    if connection.client_certificate:
        user["client-certificate"] = str(Path(connection.client_certificate).absolute())
        user.pop("client-certificate-data", None)
    if connection.client_key:
        user["client-key"] = str(Path(connection.client_key).absolute())
        user.pop("client-key-data", None)
    if connection.as_user:
        user["as"] = connection.as_user
    if connection.as_uid:
        user["as-uid"] = connection.as_uid
    if connection.as_groups:
        user["as-groups"] = list(connection.as_groups)
    return user


def _check_cluster(context: Context) -> None:
    cluster = context.cluster
    if not cluster.get("server"):
        raise ToolError(f"no server found for {context}", "kubectl config set-cluster NAME --server=URL sets it")
    if cluster.get("insecure-skip-tls-verify") and _has_authority(cluster):
        raise ToolError(
            "specifying a root certificates file with the insecure flag is not allowed",
            f"take insecure-skip-tls-verify out of {context}, or give --insecure-skip-tls-verify=false",
        )


def _check_user(context: Context) -> None:
    user = context.user
    if "token" in user and ("username" in user or "password" in user):
        raise ToolError(
            f'user "{context.user_name}" has a token and a password: only one of them is allowed',
            "take one of them out of the kubeconfig",
        )
    if "auth-provider" in user and "token" not in user and "exec" not in user:
        raise ToolError(
            f'user "{context.user_name}" has an auth-provider: kubectl itself dropped those of gcp and azure in 1.26',
            "use an exec credential plugin (gke-gcloud-auth-plugin, kubelogin), or give --token",
        )
    if not user.get("as") and (user.get("as-uid") or user.get("as-groups") or user.get("as-user-extra")):
        raise ToolError("requesting a uid, groups or user-extra without impersonating a user", "give --as USER too")


def _check_base64(key: str, text: str, context: Context) -> None:
    try:
        base64.b64decode("".join(text.split()), validate=True)
    except binascii.Error as error:
        raise ToolError(f"{key} of {context} is not base64", "base64 -w0 FILE makes it from a PEM file") from error


def _has_authority(cluster: ClusterEntry) -> bool:
    return bool(cluster.get("certificate-authority") or cluster.get("certificate-authority-data"))


def _url(context: Context) -> str:
    """`host:port` is a server too: client-go takes https for it where anything else speaks of TLS."""
    cluster, user, server = context.cluster, context.user, context.server
    tls = (
        _has_authority(cluster)
        or cluster.get("insecure-skip-tls-verify")
        or user.get("client-certificate")
        or user.get("client-certificate-data")
    )
    url = server if "://" in server else f"{'https' if tls else 'http'}://{server}"
    try:
        parsed = urllib3.util.parse_url(url)
        (parsed.host or "").encode("idna")  # as it will be looked up
    except (urllib3.exceptions.LocationParseError, UnicodeError) as error:
        raise ToolError(f"server {server}: not a URL", "a server looks like https://10.0.0.1:6443") from error
    if parsed.scheme not in {"http", "https"} or not parsed.host:
        raise ToolError(f"server {server}: not a URL of http or https", "a server looks like https://10.0.0.1:6443")
    return url.rstrip("/")

"""Who we are to the API server: the headers and the TLS that the user of a context stands for."""

from __future__ import annotations

import base64
import io
import sys
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from meshtrust import __version__
from meshtrust.cluster.official import (
    ConfigException,
    ConfigNode,
    Configuration,
    ExecProvider,
    KubeConfigLoader,
    parse_rfc3339,
    remove_temp_files,
    urllib3,
)
from meshtrust.cluster.pool import certificate_names, open_pool
from meshtrust.cluster.tls import tls_context
from meshtrust.errors import ToolError

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator

    from meshtrust.cluster.context import Context, UserEntry

_HEADER_KEY = "!#$&'*+-.^_`|~"  # beside letters and digits; client-go escapes the rest of an extra's key


@dataclass(frozen=True, slots=True)
class Login:
    """A way into one cluster, until `expires`."""

    context: Context
    configuration: Configuration = field(repr=False)
    tls: ssl.SSLContext | None
    pool: urllib3.HTTPConnectionPool
    fixed_headers: tuple[tuple[str, str], ...] = field(repr=False)
    expires: datetime | None

    @property
    def expired(self) -> bool:
        return self.expires is not None and self.expires <= datetime.now(UTC)

    def headers(self) -> urllib3.HTTPHeaderDict:
        headers = urllib3.HTTPHeaderDict()
        for name, value in self.fixed_headers:
            headers.add(name, value)
        # Read for each request: the kubelet, and whoever else writes such a file, replaces it now and then.
        if "authorization" not in headers and (file := self.context.user.get("tokenFile")) and self.context.secure:
            headers["authorization"] = f"Bearer {_token_of(file)}"
        return headers

    def names(self, timeout: float | None) -> tuple[str, ...]:
        """For which host names the server has a certificate."""
        return certificate_names(self.configuration, self.tls, self.context, timeout) if self.tls else ()


def log_in(context: Context) -> Login:
    """Run the credential plugin where there is one, and load certificates. Nothing is sent yet."""
    user, expires = context.user, None
    # As client-go: no credentials where everybody could read them, and a token makes a plugin needless.
    if context.secure and "exec" in user and "token" not in user and "tokenFile" not in user:
        user, expires = _with_plugin(context)
    try:
        configuration = _official(context, user)
        tls = tls_context(configuration, context) if context.secure else None
    finally:
        remove_temp_files()
    authorization = configuration.api_key.get("BearerToken", "") if context.secure else ""
    headers = (*_greeting(), *_authorization(authorization), *_impersonation(user))
    return Login(context, configuration, tls, open_pool(configuration, tls, context), headers, expires)


def _official(context: Context, user: UserEntry) -> Configuration:
    """What the official loader makes of one cluster and one user."""
    name = "this"
    kept = {key: value for key, value in user.items() if key not in {"exec", "tokenFile", "auth-provider"}}
    loader = KubeConfigLoader(
        {
            "current-context": name,
            "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
            "clusters": [{"name": name, "cluster": dict(context.cluster)}],
            "users": [{"name": name, "user": kept}],
        }
    )
    configuration = Configuration()
    try:
        loader.load_and_set(configuration)
    except ConfigException as error:
        raise ToolError(f"{context}: {error}", "kubectl config view shows where it should be") from error
    return configuration


def _with_plugin(context: Context) -> tuple[UserEntry, datetime | None]:
    """Ask the credential plugin itself: the official loader logs its failures and goes on as nobody."""
    user, plugin = context.user, context.user["exec"]
    place = f'credential plugin "{plugin.get("command", "")}" of {context.who}'
    try:
        told = ConfigNode("cluster", _told(context)) if plugin.get("provideClusterInfo") else None
        with redirect_stdout(_Console()):
            status = ExecProvider(ConfigNode("exec", plugin), None, told).run()
        token, certificate, key = (
            status.get(name) or "" for name in ("token", "clientCertificateData", "clientKeyData")
        )
        expiry = status.get("expirationTimestamp")
        expires: datetime | None = parse_rfc3339(expiry) if expiry else None
        pair = {
            "client-certificate-data": base64.b64encode(certificate.encode()).decode(),
            "client-key-data": base64.b64encode(key.encode()).decode(),
        }
    except FileNotFoundError as error:
        hint = " ".join((plugin.get("installHint") or "install it, or put it on PATH").split())
        raise ToolError(f"{place}: not found", hint) from error
    except OSError as error:
        raise ToolError(f"{place}: {error.strerror}", "does it run by itself?") from error
    except ConfigException as error:
        raise ToolError(
            f"{place} failed: {str(error).strip().splitlines()[-1]}", "run it by itself, or log in again"
        ) from error
    except (AttributeError, TypeError, ValueError) as error:  # what comes of junk in well-formed JSON
        raise ToolError(f"{place} did not print an ExecCredential", "run it by itself") from error
    if bool(certificate) != bool(key) or not (token or key):
        raise ToolError(f"{place} gave neither a token nor a certificate with its key", "run it by itself")
    gained: dict[str, Any] = ({"token": token} if token else {}) | (pair if key else {})
    return {**user, **gained}, expires  # type: ignore[typeddict-item]  # keys of a UserEntry


class _Console(io.StringIO):
    """Who sits before stderr can answer a plugin, also where our own output goes into a pipe.

    The official code asks stdout for that, and keeps to itself what a plugin says to nobody: "open this page to log
    in" would never be seen.
    """

    def isatty(self) -> bool:
        return sys.stderr.isatty()


def _told(context: Context) -> dict[str, Any]:
    """What a plugin is told of the cluster: the authority as data, wherever the kubeconfig has it."""
    told: dict[str, Any] = dict(context.cluster)
    if file := told.pop("certificate-authority", None):
        told["certificate-authority-data"] = base64.b64encode(Path(file).read_bytes()).decode()
    return told


def _token_of(file: str) -> str:
    try:
        return _clean(Path(file).read_text(), f"token in {file}")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not text"
        raise ToolError(f"token in {file}: {why}", "log in again, or repair tokenFile in the kubeconfig") from error


def _clean(value: str, place: str) -> str:
    """Python would quote a value that is no header in its error message, and so print a token."""
    stripped = value.strip()
    if not stripped.isprintable():
        raise ToolError(f"{place} holds a line break or a control character", "it must be one line of text")
    return stripped.encode().decode("latin-1")  # headers are bytes: UTF-8, as Go sends them


def _greeting() -> Iterator[tuple[str, str]]:
    yield "accept", "application/json"
    yield "user-agent", f"kubectl-istio-trust/{__version__}"


def _authorization(value: str) -> Iterator[tuple[str, str]]:
    if value:
        yield "authorization", _clean(value, "the token")


def _impersonation(user: UserEntry) -> Iterator[tuple[str, str]]:
    if name := user.get("as"):
        yield "Impersonate-User", _clean(name, "--as")
    if uid := user.get("as-uid"):
        yield "Impersonate-Uid", _clean(uid, "--as-uid")
    for group in user.get("as-groups", ()):
        yield "Impersonate-Group", _clean(group, "--as-group")
    for key, values in user.get("as-user-extra", {}).items():
        for value in values:
            yield f"Impersonate-Extra-{quote(key, safe=_HEADER_KEY)}", _clean(value, "as-user-extra")

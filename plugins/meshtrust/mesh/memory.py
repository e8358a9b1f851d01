"""What a proxy holds in its memory, out of what its admin interface answers: Envoys and ztunnels of all versions."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from itertools import product
from shlex import join
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from meshtrust.certificates import Bundle, Certificate, parse_leaf, parse_pem
from meshtrust.errors import Unreachable
from meshtrust.mesh import names
from meshtrust.mesh.model import Proxy, ProxyKind
from meshtrust.octets import from_base64

if TYPE_CHECKING:
    from collections.abc import Iterable

    from meshtrust.source import Source

SECRETS = "config_dump?mask=dynamic_active_secrets,dynamic_warming_secrets"
ZTUNNELS = "config_dump"
FILES = "certs"

_ROOTS, _LEAF = "ROOTCA", "default"
_FILE_ROOTS, _FILE_LEAF = "file-root:", "file-cert:"
_UNINITIALIZED, _AVAILABLE = "uninitialized", "Available"

Shape = TypeVar("Shape")
_OTHER_SHAPE = "its admin interface answered in a shape that is not known"


@dataclass(frozen=True, slots=True)
class Shown:
    """A certificate as `/certs` shows it: without its octets."""

    serial: int
    not_before: datetime
    not_after: datetime


@dataclass(frozen=True, slots=True)
class Memory:
    """What one identity is handed: its bundle and its chain, the leaf first.

    identity: the workload's URI
    absent: why there is nothing, where there is nothing
    shown: where an Envoy has its certificates from files: the first root and the leaf, which is all that it tells
    others: what it is handed beside that under the same names, from another source of its secrets
    """

    identity: str
    roots: tuple[Certificate, ...] = ()
    chain: tuple[Certificate, ...] = ()
    broken: tuple[str, ...] = ()
    absent: str = ""
    shown: tuple[Shown | None, Shown | None] | None = None
    others: tuple[Memory, ...] = ()


def read_memory(source: Source, proxy: Proxy) -> tuple[Memory, ...]:
    """Ask one proxy; a ztunnel answers for every identity on its node.

    Raises `NotAllowed` or `Unreachable`, the latter also where the answer makes no sense.
    """
    try:
        return _read(source, proxy)
    except Unreachable as error:
        raise Unreachable(error.message, error.hint or f"look by hand: {_by_hand(proxy)}") from error


def _read(source: Source, proxy: Proxy) -> tuple[Memory, ...]:
    def ask(path: str) -> bytes:
        return source.proxy_admin(proxy.ref, path, port=proxy.admin_port, container=proxy.container)

    if proxy.kind is ProxyKind.ZTUNNEL:
        return _of_ztunnel(_decoded(ask(ZTUNNELS), _ZtunnelDump))
    memory = _of_envoy(_decoded(ask(SECRETS), _EnvoyDump)) or _of_files(_decoded(ask(FILES), _Certs))
    if memory is None:
        raise Unreachable("its Envoy shows neither a bundle nor a certificate: does it speak mutual TLS?")
    return (memory,)


def _by_hand(proxy: Proxy) -> str:
    """What a person types to see what it shows; a ztunnel has no agent beside it that could be asked."""
    pod, port = (proxy.ref.name, "-n", proxy.ref.namespace), proxy.admin_port
    if proxy.kind is ProxyKind.ZTUNNEL:
        forward = join(("kubectl", "port-forward", *pod, str(port)))
        return f"{forward}, and beside it: curl -i localhost:{port}/{ZTUNNELS}"
    other = () if port == names.ADMIN_PORT else (f"--debug-port={port}",)
    return join(("kubectl", "exec", *pod, "-c", proxy.container, "--", "pilot-agent", "request", *other, "GET", FILES))


def _decoded(answer: bytes, shape: type[Shape]) -> Shape:
    """The JSON may have a line before it that pilot-agent printed; what is not known of it is skipped."""
    begin = answer.find(b"{")
    try:
        return msgspec.json.decode(answer[max(begin, 0) :], type=shape)
    except msgspec.ValidationError:
        raise Unreachable(_OTHER_SHAPE) from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise Unreachable("its admin interface answered with something that is not JSON") from None


# Envoy: config_dump, where SDS hands out what is in use (admin.v3.SecretsConfigDump; the names are those of v2, too).


class _Inline(msgspec.Struct):
    inline_bytes: str = ""
    inline_string: str = ""


class _Tls(msgspec.Struct):
    certificate_chain: _Inline | None = None


class _TrustDomain(msgspec.Struct):
    trust_bundle: _Inline | None = None


class _Spiffe(msgspec.Struct):
    trust_domains: list[_TrustDomain] = []


class _Validator(msgspec.Struct):
    typed_config: _Spiffe | None = None


class _Validation(msgspec.Struct):
    trusted_ca: _Inline | None = None
    custom_validator_config: _Validator | None = None


class _Held(msgspec.Struct):
    tls_certificate: _Tls | None = None
    validation_context: _Validation | None = None


class _Secret(msgspec.Struct):
    name: str = ""
    version_info: str = ""
    secret: _Held | None = None

    @property
    def held(self) -> _Held | None:
        return None if self.version_info == _UNINITIALIZED else self.secret


class _EnvoyConfig(msgspec.Struct):
    dynamic_active_secrets: list[_Secret] = []
    dynamic_warming_secrets: list[_Secret] = []


class _EnvoyDump(msgspec.Struct):
    configs: list[_EnvoyConfig]  # must be there: another program's JSON is no Envoy without secrets


def _of_envoy(dump: _EnvoyDump) -> Memory | None:
    """Nothing where there is no secret at all: then files may hold what it uses."""
    active = [one for config in dump.configs for one in config.dynamic_active_secrets]
    warming = {one.name for config in dump.configs for one in config.dynamic_warming_secrets}
    bundles, chains = _named(active, _ROOTS, _FILE_ROOTS), _named(active, _LEAF, _FILE_LEAF)
    waits = bool(warming & {_ROOTS, _LEAF})
    if not (bundles or chains or waits):
        return None
    pairs = product(bundles or (None,), chains or (None,))
    first, *others = dict.fromkeys(_of_secrets(bundle, chain, waits=waits) for bundle, chain in pairs)
    return replace(first, others=tuple(others)) if others else first


def _of_secrets(bundle: _Secret | None, chain: _Secret | None, *, waits: bool) -> Memory:
    validation, tls = (one.held if one else None for one in (bundle, chain))
    roots, leaf = _bundle_of(validation), _chain_of(tls)
    if (validation and roots is None) or (tls and leaf is None):
        raise Unreachable(_OTHER_SHAPE)
    lacking = [what for what, part in (("the bundle", roots), ("the certificate", leaf)) if part is None]
    warms = " (WARMING)" if waits else ""
    return _memory(roots, leaf, absent=f"not delivered{warms}: {' and '.join(lacking)}" if lacking else "")


def _named(secrets: list[_Secret], name: str, prefix: str) -> tuple[_Secret, ...]:
    """All of that name: an Envoy with two sources of secrets may be handed two."""
    named = tuple(one for one in secrets if one.name == name)
    return named or tuple(one for one in secrets if one.name.startswith(prefix))[:1]


def _bundle_of(held: _Held | None) -> Bundle | None:
    context = held.validation_context if held else None
    if context is None:
        return None
    custom = context.custom_validator_config
    domains = custom.typed_config.trust_domains if custom and custom.typed_config else []
    parts = [part for part in (context.trusted_ca, *(domain.trust_bundle for domain in domains)) if part]
    text = "\n".join(_text(part) for part in parts)  # a mark that does not begin its line is none
    return parse_pem(text) if text.strip() else None


def _chain_of(held: _Held | None) -> Bundle | None:
    chain = held.tls_certificate.certificate_chain if held and held.tls_certificate else None
    text = _text(chain) if chain else ""
    return parse_leaf(text) if text.strip() else None


def _text(part: _Inline) -> str:
    return _plain(part.inline_bytes) if part.inline_bytes else part.inline_string


def _plain(encoded: str) -> str:
    try:
        return from_base64(encoded).decode(errors="replace")
    except ValueError:
        return "not base64"


def _memory(roots: Bundle | None, chain: Bundle | None, *, absent: str = "", identity: str = "") -> Memory:
    held, leaf = roots or Bundle(), chain or Bundle()
    broken = [f"bundle: {why}" for why in held.broken] + [f"certificate: {why}" for why in leaf.broken]
    uris = leaf.certificates[0].uris if leaf.certificates else ()
    return Memory(identity or next(iter(uris), ""), held.certificates, leaf.certificates, tuple(broken), absent=absent)


# Envoy: certs, where its certificates are files (Citadel): serials and dates, and of a bundle the first root alone.


class _Name(msgspec.Struct):
    uri: str = ""


class _Shown(msgspec.Struct):
    serial_number: str
    valid_from: str
    expiration_time: str
    path: str = ""
    subject_alt_names: list[_Name] = []


class _Context(msgspec.Struct):
    ca_cert: list[_Shown] = []
    cert_chain: list[_Shown] = []


class _Certs(msgspec.Struct):
    certificates: list[_Context]


def _of_files(certs: _Certs) -> Memory | None:
    """The context of the workload's own certificate: others belong to gateways and to rules of the users'."""
    for context in certs.certificates:
        leaf = next(iter(context.cert_chain), None)
        identity = next((name.uri for name in leaf.subject_alt_names if name.uri), "") if leaf else ""
        if leaf and identity.startswith("spiffe://"):
            root = next(iter(context.ca_cert), None)
            return Memory(identity, shown=(_shown(root) if root else None, _shown(leaf)))
    return None


def _shown(one: _Shown) -> Shown | None:
    try:
        return Shown(
            int(one.serial_number, 16),
            datetime.fromisoformat(one.valid_from),
            datetime.fromisoformat(one.expiration_time),
        )
    except ValueError:
        return None


# ztunnel: config_dump (src/admin.rs). Camel case since 1.22; `rootCerts` since 1.24.6, 1.25.3 and 1.26.


class _Pem(msgspec.Struct):
    pem: str = ""


class _Identity(msgspec.Struct):
    identity: str
    state: str
    certChain: list[_Pem] = []  # noqa: N815 - its name
    rootCerts: list[_Pem] | None = None  # noqa: N815 - its name
    ca_cert: list[_Pem] | None = None
    cert_chain: list[_Pem] = []


class _ZtunnelDump(msgspec.Struct):
    certificates: list[_Identity]


# Proxies are asked by many threads at once, and msgspec 0.22 shares its table of a shape before it has filled it: two
# threads that meet a shape first crash the process. Here, at the import, there is one.
for _shape in (_EnvoyDump, _Certs, _ZtunnelDump):
    msgspec.json.Decoder(_shape)


def _of_ztunnel(dump: _ZtunnelDump) -> tuple[Memory, ...]:
    return tuple(_of_identity(one) for one in dump.certificates)


def _of_identity(one: _Identity) -> Memory:
    if one.state != _AVAILABLE:
        stale = " (may be up to 3 minutes old)" if one.state.startswith("Unavailable") else ""
        return Memory(one.identity, absent=f"{one.state}{stale}")
    chain = [*(one.ca_cert or ()), *one.cert_chain] if one.ca_cert is not None else one.certChain
    roots = one.rootCerts
    if roots is None:  # before that, the root was the last of the chain
        chain, roots = chain[:-1], chain[-1:]
    return _memory(_joined(roots), _joined(chain), identity=one.identity)


def _joined(parts: Iterable[_Pem]) -> Bundle:
    text: Any = "\n".join(_plain(part.pem) for part in parts)
    return parse_pem(text) if text else Bundle()

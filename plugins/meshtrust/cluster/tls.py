"""The TLS of a connection: whom we believe, and which certificate we show."""

from __future__ import annotations

import os
import ssl
from pathlib import Path
from typing import TYPE_CHECKING

from meshtrust.cluster.official import urllib3
from meshtrust.errors import ToolError

if TYPE_CHECKING:
    from meshtrust.cluster.context import Context
    from meshtrust.cluster.official import Configuration

# Where Debian, RHEL, SUSE, old RHEL and Alpine with macOS keep the roots of the system. A Python that travels in a
# single file looks where the machine kept them that it was built on.
_SYSTEM_ROOTS = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
)


def tls_context(configuration: Configuration, context: Context) -> ssl.SSLContext:
    """One for all connections, with what the official configuration says."""
    if configuration.verify_ssl:
        tls = _believing(configuration.ssl_ca_cert, context)
    else:
        tls = urllib3.util.ssl_.create_urllib3_context(cert_reqs=ssl.CERT_NONE)
        urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)  # it was asked for
    if configuration.cert_file:
        _show(tls, configuration.cert_file, configuration.key_file, context)
    return tls


def proxy_tls_context(context: Context) -> ssl.SSLContext:
    """The roots of the system: the authority of a kubeconfig is the cluster's alone."""
    return _believing(None, context)


def names_probe(tls: ssl.SSLContext) -> ssl.SSLContext:
    """The same roots, but the host name is left to urllib3, which tells the names that it found."""
    probe = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    probe.check_hostname = False
    probe.hostname_checks_common_name = False
    probe.verify_mode = ssl.CERT_REQUIRED
    probe.verify_flags = tls.verify_flags
    probe.load_verify_locations(cadata=b"".join(tls.get_ca_certs(binary_form=True)))
    return probe


def _believing(authority: str | None, context: Context) -> ssl.SSLContext:
    # As Go does: an intermediate may be an anchor, and VERIFY_X509_STRICT, which Python 3.13 made a default, would
    # refuse the CAs of clusters that work well with kubectl.
    tls = urllib3.util.ssl_.create_urllib3_context(verify_flags=ssl.VERIFY_X509_PARTIAL_CHAIN)
    file = authority or os.environ.get("SSL_CERT_FILE")
    folder = None if authority else os.environ.get("SSL_CERT_DIR")
    if not file and not folder:
        file = next((path for path in _SYSTEM_ROOTS if Path(path).is_file()), None)
    if not file and not folder:
        tls.load_default_certs()
        return tls
    place = f"certificate-authority of {context}" if authority else f"system roots in {file or folder}"
    try:
        tls.load_verify_locations(file, folder)
    except (ssl.SSLError, OSError) as error:
        why = "holds no certificate in PEM" if isinstance(error, ssl.SSLError) else error.strerror
        raise ToolError(f"{place}: {why}", "it must be the PEM of the cluster's CA") from error
    return tls


def _show(tls: ssl.SSLContext, certificate: str, key: str | None, context: Context) -> None:
    place = f"client certificate of {context.who}"
    try:
        tls.load_cert_chain(certificate, key, password=_no_password)
    except ssl.SSLError as error:
        why = {"KEY_VALUES_MISMATCH": "its key is another one"}.get(error.reason or "", "not PEM, or its key is not")
        raise ToolError(f"{place}: {why}", "client-certificate and client-key must belong together") from error
    except ValueError as error:
        raise ToolError(f"{place}: its key is encrypted", "kubectl takes no encrypted keys either") from error
    except OSError as error:
        raise ToolError(f"{place}: {error.strerror}", "kubectl config view shows where it should be") from error


def _no_password() -> str:
    """Stand between OpenSSL and the terminal, where it would ask."""
    raise ValueError("encrypted")

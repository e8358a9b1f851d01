"""What kubectl's options say about the way to a cluster."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Connection:
    """The options of kubectl that choose and change a connection; an empty value is an option not given."""

    kubeconfig: str = ""
    context: str = ""
    cluster: str = ""
    user: str = ""
    server: str = ""
    token: str = field(default="", repr=False)
    as_user: str = ""
    as_groups: tuple[str, ...] = ()
    as_uid: str = ""
    request_timeout: float | None = 10.0  # seconds for one whole request; None is kubectl's 0: no limit
    insecure_skip_tls_verify: bool | None = None  # False overrides a kubeconfig's true, None leaves it
    certificate_authority: str = ""
    client_certificate: str = ""
    client_key: str = ""
    tls_server_name: str = ""

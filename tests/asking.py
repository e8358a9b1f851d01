"""Ways to ask a sandbox: plain HTTP, real kubectl, the official client; and a mesh with something of everything."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import urllib3
from kubernetes import client, config

from sandbox import Ca, Identity, Mesh, Namespace, Proxy, Server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NOW = datetime.now(UTC).replace(microsecond=0)
STRANGE = Ca(key="strange")
MESH = Mesh(
    now=NOW,
    namespaces=(Namespace("bank", labels={"istio-injection": "enabled"}), Namespace("shop", publishes=(STRANGE,))),
    proxies=(
        Proxy("ledger", "bank", "native"),
        Proxy("web", "shop"),
        Proxy("web", "shop", holds=(STRANGE,)),
        Proxy("istio-ingressgateway", "istio-system", "gateway"),
        Proxy("ztunnel", "istio-system", "ztunnel", identities=(Identity("cart", "bank"),)),
        Proxy("deaf", "shop", answers="refuses"),
        Proxy("mute", "shop", answers="hangs"),
        Proxy("dying", "shop", answers="cut"),
        Proxy("babbling", "shop", answers="garbage"),
        Proxy("young", "shop", phase="Pending"),
        Proxy("done", "shop", phase="Succeeded"),
    ),
)
# The one on PATH, and the one of PyPI.
KUBECTLS = tuple(
    dict.fromkeys(found for path in (None, f"{sys.prefix}/bin") if (found := shutil.which("kubectl", path=path)))
)


@dataclass(frozen=True, slots=True)
class Asking:
    """Plain requests with the server's token."""

    server: Server
    pool: urllib3.PoolManager

    def __call__(self, path: str, method: str = "GET", **more: Any) -> urllib3.BaseHTTPResponse:
        headers = {"Authorization": f"Bearer {self.server.token}", **more.pop("headers", {})}
        return self.pool.request(method, self.server.url + path, headers=headers, retries=False, **more)

    def patch(self, path: str, patch: Any) -> urllib3.BaseHTTPResponse:
        headers = {"Content-Type": "application/merge-patch+json"}
        return self(path, "PATCH", headers=headers, body=json.dumps(patch))

    def pages(self, path: str) -> Iterator[dict[str, Any]]:
        """List two by two."""
        proceed = ""
        while True:
            page = self(path, fields={"limit": "2", "continue": proceed}).json()
            yield page
            proceed = page["metadata"].get("continue", "")
            if not proceed:
                return


@contextmanager
def connected(server: Server) -> Iterator[Asking]:
    with urllib3.PoolManager(ca_certs=str(server.files.authority), timeout=5) as pool:
        yield Asking(server, pool)


@contextmanager
def official(server: Server, kubeconfig: Path | None = None) -> Iterator[client.ApiClient]:
    with config.new_client_from_config(str(kubeconfig or server.kubeconfig)) as api:
        yield api


def kubectl(server: Server, *args: str, command: str = KUBECTLS[0]) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "HOME": str(server.folder), **server.environment}
    return subprocess.run([command, *args], env=environment, capture_output=True, text=True, check=False, timeout=30)

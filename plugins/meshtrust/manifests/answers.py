"""What the proxies' admin interfaces answered, as a recording keeps it.

In a bug-report of istioctl these are the files `proxies/NAMESPACE/POD/certs`, `config_dump?include_eds` (of a ztunnel
`config_dump`) and `server_info`, and what an istiod says of its proxies, `istio/NAMESPACE/POD/debug/syncz`. In a
manifest, beside the objects, they are an item of a kind of our own, one for each pod. Each answer stands under the path
that it was asked at, without the query:

    apiVersion: meshtrust/v1
    kind: ProxyAnswers
    metadata: {name: ledger-7d9c-x2x4z, namespace: bank}
    answers:
      certs: {certificates: [...]}
      config_dump: {configs: [...]}
      server_info: {version: ...}

An answer is the JSON as it came; one that is not JSON is kept as a text. Such an item may stand in every file and List
that `-f` takes. An answer that comes again replaces the one before it. Whoever writes them cuts private keys out first:
Envoy does so itself (`[redacted]`), and ztunnel shows none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

KIND = "ProxyAnswers"
API_VERSION = "meshtrust/v1"


@dataclass(frozen=True, slots=True)
class Page:
    """Where an answer comes from."""

    namespace: str
    pod: str
    path: str


Answers = Mapping[Page, bytes]

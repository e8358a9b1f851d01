"""What the proxies' admin interfaces answered, as a recording keeps it.

In a bug-report of istioctl these are the files `proxies/NAMESPACE/POD/certs`, `config_dump` (or
`config_dump?include_eds`) and `server_info`. Beside the objects of a manifest they are an item of this kind, one for
each pod, with the JSON of each answer as it is, under the path that it was asked at (without the query):

    apiVersion: meshtrust/v1
    kind: ProxyAnswers
    metadata: {name: ledger-7d9c-x2x4z, namespace: bank}
    answers:
      certs: {certificates: [...]}
      config_dump: {configs: [...]}
      server_info: {version: ...}

It may stand in any file and List that `-f` takes. A later item for the same pod replaces the answers that it has, and
leaves the others. Whoever writes such an item cuts private keys out first; Envoy and ztunnel redact their own.
"""

from __future__ import annotations

from collections.abc import Mapping

Answers = Mapping[tuple[str, str], Mapping[str, bytes]]

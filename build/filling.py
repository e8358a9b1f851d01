"""Gives an API server many objects, without kubectl's limit of requests: `python filling.py FILE` inside of a ground.

FILE holds an object a line. A pod's status is written, too, or it would be one that nobody has started.
"""

from __future__ import annotations

import http.client
import json
import os
import ssl
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

_FIRST, _LAST = ("Namespace", "ServiceAccount"), ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration")
_PLURALS = {
    "ConfigMap": "configmaps",
    "Deployment": "deployments",
    "MutatingWebhookConfiguration": "mutatingwebhookconfigurations",
    "Namespace": "namespaces",
    "Pod": "pods",
    "ReplicaSet": "replicasets",
    "Secret": "secrets",
    "Service": "services",
    "ServiceAccount": "serviceaccounts",
    "ValidatingWebhookConfiguration": "validatingwebhookconfigurations",
}
_OF_THE_SERVER = ("uid", "resourceVersion", "creationTimestamp", "managedFields", "generation", "deletionTimestamp")
_CONFLICT = 409  # some are made by the server itself
_mine = threading.local()


def main(file: Path) -> None:
    objects = [json.loads(line) for line in file.read_text().splitlines()]
    for kinds in (_FIRST, _PLURALS.keys() - {*_FIRST, *_LAST}, _LAST):  # a webhook would be asked for each pod
        for kind in sorted(kinds):
            with ThreadPoolExecutor(8) as pool:
                list(pool.map(_store, [one for one in objects if one["kind"] == kind]))


def _store(body: dict[str, Any]) -> None:
    metadata = {key: value for key, value in body["metadata"].items() if key not in _OF_THE_SERVER}
    version, namespace = body["apiVersion"], metadata.get("namespace")
    group = f"/apis/{version}" if "/" in version else f"/api/{version}"
    path = f"{group}{f'/namespaces/{namespace}' if namespace else ''}/{_PLURALS[body['kind']]}"
    _send("POST", path, body | {"metadata": metadata}, "application/json")
    if body["kind"] == "Pod":
        status = {key: value for key, value in body["status"].items() if key != "qosClass"}  # the server's own
        _send("PATCH", f"{path}/{metadata['name']}/status", {"status": status}, "application/merge-patch+json")


def _send(method: str, path: str, body: Mapping[str, Any], kind: str) -> None:
    settings = json.loads(Path(os.environ["KUBECONFIG"]).read_text())
    if not hasattr(_mine, "connection"):
        cluster = settings["clusters"][0]["cluster"]
        trusted = ssl.create_default_context(cafile=cluster["certificate-authority"])
        _mine.connection = http.client.HTTPSConnection(urlsplit(cluster["server"]).netloc, context=trusted)
    token = settings["users"][0]["user"]["token"]
    _mine.connection.request(method, path, json.dumps(body), {"Authorization": f"Bearer {token}", "Content-Type": kind})
    answer = _mine.connection.getresponse()
    said = answer.read()
    if answer.status >= http.client.BAD_REQUEST and answer.status != _CONFLICT:
        sys.exit(f"{method} {path}: {answer.status} {said[:400]!r}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

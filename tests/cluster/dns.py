"""The cluster's DNS: the A records of its Services, and no other name. `python -m cluster.dns FOLDER`."""

from __future__ import annotations

import json
import socket
import ssl
import struct
import sys
import threading
import time
import urllib.request
from pathlib import Path

from cluster.settings import ADDRESS, ADMIN_TOKEN, API

_HEADER = 12
_A = 1
_REFUSES = 0x8580  # a response, authoritative, recursion offered; or-ed with the code of an error
_NO_SUCH_NAME = 3
_POINTER_TO_QUESTION = b"\xc0\x0c"


class Zone:
    """The cluster IPs of all Services by name, as of a second ago."""

    def __init__(self, authority: Path) -> None:
        self.addresses: dict[str, str] = {}
        self._context = ssl.create_default_context(cafile=str(authority))

    def follow(self) -> None:
        while True:
            try:
                self.addresses = self._read()
            except OSError as error:
                sys.stderr.write(f"{error}\n")  # the API server is restarting: the old names still hold
            time.sleep(1)

    def _read(self) -> dict[str, str]:
        question = urllib.request.Request(  # noqa: S310 - https, as written in settings
            f"{API}/api/v1/services", headers={"Authorization": f"Bearer {ADMIN_TOKEN}"}
        )
        with urllib.request.urlopen(question, context=self._context, timeout=5) as answer:  # noqa: S310 - as above
            services = json.load(answer)["items"]
        return {
            f"{service['metadata']['name']}.{service['metadata']['namespace']}.svc.cluster.local": address
            for service in services
            if (address := service["spec"].get("clusterIP", "None")) != "None"
        }


def answer(query: bytes, addresses: dict[str, str]) -> bytes:
    """Answer one question; what is no Service does not exist."""
    labels, at = [], _HEADER
    while size := query[at]:
        labels.append(query[at + 1 : at + 1 + size].decode())
        at += 1 + size
    question = query[_HEADER : at + 5]
    (wanted,) = struct.unpack_from(">H", query, at + 1)
    address = addresses.get(".".join(labels).lower(), "")
    has_record = bool(address) and wanted == _A and ":" not in address
    flags = _REFUSES | (0 if address else _NO_SUCH_NAME)
    said = query[:2] + struct.pack(">HHHHH", flags, 1, int(has_record), 0, 0) + question
    if has_record:
        said += _POINTER_TO_QUESTION + struct.pack(">HHIH", _A, 1, 5, 4) + socket.inet_aton(address)
    return said


def main(folder: Path) -> None:
    zone = Zone(folder / "ca.crt")
    threading.Thread(target=zone.follow, daemon=True).start()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind((ADDRESS, 53))
        while True:
            query, peer = server.recvfrom(4096)
            try:
                server.sendto(answer(query, zone.addresses), peer)
            except (IndexError, struct.error, UnicodeDecodeError) as error:
                sys.stderr.write(f"{peer}: {error}\n")  # not a question


if __name__ == "__main__":
    main(Path(sys.argv[1]))

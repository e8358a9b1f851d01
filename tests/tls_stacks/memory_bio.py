"""Handshakes in memory by Python's `ssl` (OpenSSL), or by `rtls`, which has the same interface over rustls."""

from __future__ import annotations

import importlib
import json
import sys
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any

from tls_stacks import DNS_NAME

_MOST_FLIGHTS = 8


class Stack:
    def __init__(self, tls: Any, folder: Path) -> None:
        self.tls = tls
        self.folder = folder

    def verdict(self, leaf: str, key: str, root: str) -> str:
        outward, inward = self.tls.MemoryBIO(), self.tls.MemoryBIO()
        shown = self.file(leaf + key)
        client = self.context(self.tls.PROTOCOL_TLS_CLIENT, shown, root).wrap_bio(
            inward, outward, server_hostname=DNS_NAME
        )
        server = self.context(self.tls.PROTOCOL_TLS_SERVER, shown, root).wrap_bio(outward, inward, server_side=True)
        try:
            for _ in range(_MOST_FLIGHTS):
                done = [self.step(end) for end in (client, server)]
                if all(done):
                    # In TLS 1.3 a client is done before the server has looked at what it showed.
                    server.write(b"welcome")
                    return "" if client.read(16) == b"welcome" else "nothing was said"
        except self.tls.SSLCertVerificationError as refused:
            return str(refused) or type(refused).__name__
        raise AssertionError("the handshake does not end")

    def step(self, end: Any) -> bool:
        try:
            end.do_handshake()
        except self.tls.SSLWantReadError:
            return False
        return True

    def context(self, protocol: Any, shown: str, root: str) -> Any:
        context = self.tls.SSLContext(protocol)
        context.verify_mode = self.tls.CERT_REQUIRED
        context.load_cert_chain(shown)
        context.load_verify_locations(cadata=root)
        return context

    @lru_cache  # noqa: B019 - it lives as long as the program
    def file(self, text: str) -> str:
        """Python's ssl reads what it is to show from files alone; these are keys of tests."""
        path = self.folder / f"{len(list(self.folder.iterdir()))}.pem"
        path.write_text(text)
        return str(path)


def main(module: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        stack = Stack(importlib.import_module(module), Path(folder))
        for line in sys.stdin:
            verdicts = [stack.verdict(**question) for question in json.loads(line)]
            print(json.dumps(verdicts), flush=True)  # noqa: T201 - the answer


if __name__ == "__main__":
    main(*sys.argv[1:])

"""Handshakes by BoringSSL, which grpcio has inside: a call of a method that nobody serves says whether one was done."""

from __future__ import annotations

import json
import sys
from concurrent.futures import ThreadPoolExecutor

import grpc

from tls_stacks import DNS_NAME

_SECONDS = 20
_OPTIONS = (("grpc.ssl_target_name_override", DNS_NAME), ("grpc.use_local_subchannel_pool", 1))


def verdict(leaf: str, key: str, root: str) -> str:
    shown, secret, trusted = leaf.encode(), key.encode(), root.encode()
    with ThreadPoolExecutor(1) as pool:
        server = grpc.server(pool)
        credentials = grpc.ssl_server_credentials([(secret, shown)], trusted, require_client_auth=True)
        port = server.add_secure_port("127.0.0.1:0", credentials)
        server.start()
        try:
            return call(port, grpc.ssl_channel_credentials(trusted, secret, shown))
        finally:
            server.stop(None).wait()


def call(port: int, credentials: grpc.ChannelCredentials) -> str:
    with grpc.secure_channel(f"127.0.0.1:{port}", credentials, _OPTIONS) as channel:
        try:
            channel.unary_unary("/mesh/Hello")(b"", timeout=_SECONDS)
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.UNIMPLEMENTED:
                return ""  # the server was reached and says that it has no such method: the handshake is behind us
            said = str(error.details())
            if "Tls handshake failed" in said:
                return said
            raise
    raise AssertionError("somebody serves this method")


if __name__ == "__main__":
    with ThreadPoolExecutor(4) as asking:
        for line in sys.stdin:
            verdicts = asking.map(lambda question: verdict(**question), json.loads(line))
            print(json.dumps(list(verdicts)), flush=True)  # noqa: T201 - the answer

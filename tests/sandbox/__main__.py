"""Serve a described mesh until terminated: `python -m sandbox DESCRIPTION.yaml --kubeconfig FILE`.

One line on stdout says when it is ready, and where.
"""

from __future__ import annotations

import argparse
import signal
import threading
from contextlib import ExitStack
from pathlib import Path

from sandbox.description import DescriptionError, read_mesh
from sandbox.distance import far
from sandbox.server import serve


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m sandbox", description=__doc__)
    parser.add_argument("description", type=Path, help="a mesh as YAML")
    parser.add_argument("--kubeconfig", type=Path, required=True, help="the kubeconfig to write")
    parser.add_argument("--namespace", default="", help="the namespace of the kubeconfig's context")
    parser.add_argument("--port", type=int, default=0, help="the port to listen on; by default a free one")
    parser.add_argument("--round-trip", type=float, default=0, help="how far away it is, in seconds")
    parser.add_argument("--dump", type=Path, help="also write the objects to this file, as one YAML List")
    options = parser.parse_args()
    try:
        mesh = read_mesh(options.description)
    except (OSError, DescriptionError) as error:
        parser.error(str(error))
    stop = threading.Event()
    for wanted in (signal.SIGTERM, signal.SIGINT):
        signal.signal(wanted, lambda *_: stop.set())
    with serve(mesh, port=options.port) as server, ExitStack() as stack:
        if options.round_trip:
            server.url = stack.enter_context(far(server.url, options.round_trip))
        server.write_kubeconfig(options.kubeconfig, namespace=options.namespace)
        if options.dump is not None:
            mesh.dump(options.dump)
        print(f"sandbox: {server.url}, kubeconfig {options.kubeconfig}", flush=True)  # noqa: T201 - the one line
        stop.wait()


if __name__ == "__main__":
    main()

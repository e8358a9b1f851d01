"""`python -m cluster [COMMAND ...]`: a mesh to try things on, until the command (else a shell) ends."""

from __future__ import annotations

import os
import subprocess
import sys

from cluster.ground import ground
from cluster.machine import Missing
from cluster.mesh import Mesh


def main(command: list[str]) -> int:
    with ground() as kubernetes:
        Mesh(kubernetes).install()
        sys.stderr.write(f"cluster: KUBECONFIG={kubernetes.kubeconfig}, logs beside it\n")
        inside = kubernetes.command(*(command or [os.environ.get("SHELL", "/bin/sh")]))
        return subprocess.run(inside, check=False, env={**os.environ, **kubernetes.environment}).returncode


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except Missing as error:
        sys.exit(f"cluster: {error}")

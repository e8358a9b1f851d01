"""The entry point of kubectl-istio_proxyver."""

from __future__ import annotations

import gc

from meshtrust.start import start

TYPE_CHECKING = False  # see meshtrust.start
if TYPE_CHECKING:
    from typing import NoReturn


def main() -> NoReturn:
    # It reads once, and ends: looking for rings among thousands of pods would be a fifth of its time.
    gc.disable()
    start("istio-proxyver", "istio_proxyver.app")


if __name__ == "__main__":
    main()

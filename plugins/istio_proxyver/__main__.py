"""The entry point of kubectl-istio_proxyver."""

from __future__ import annotations

from meshtrust.start import start

TYPE_CHECKING = False  # see meshtrust.start
if TYPE_CHECKING:
    from typing import NoReturn


def main() -> NoReturn:
    start("istio-proxyver", "istio_proxyver.app")


if __name__ == "__main__":
    main()

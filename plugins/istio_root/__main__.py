"""The entry point of kubectl-istio_root."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshtrust.start import start

if TYPE_CHECKING:
    from typing import NoReturn


def main() -> NoReturn:
    start("istio-root", "istio_root.app")


if __name__ == "__main__":
    main()

"""A mesh read from files: what `-f` takes, as a `Source`. YAML comes in here.

Objects as kubectl prints them, bug-reports of istioctl, and what proxies answered: `answers` tells how that is kept.
"""

from meshtrust.manifests.recording import Recording

__all__ = ["Recording"]

"""A mesh read from files: what `-f` takes, as a `Source`. YAML comes in here."""

from meshtrust.manifests.recording import Recording

__all__ = ["Recording"]

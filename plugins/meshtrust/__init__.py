"""What the three plugins know of the trust root of an Istio mesh."""

__version__ = "0.1.0"

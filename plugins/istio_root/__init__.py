"""kubectl istio-root: which CA signs here, and until when."""

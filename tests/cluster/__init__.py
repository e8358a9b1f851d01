"""The real ground: a real Kubernetes and a real Istio on one machine, walled off from it (README.md)."""

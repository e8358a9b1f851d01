"""kubectl istio-certverify: does every stored copy and every running proxy trust the root that signs now."""

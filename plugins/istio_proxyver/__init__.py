"""kubectl istio-proxyver: which proxies run which version, and which of them cannot take a new root."""

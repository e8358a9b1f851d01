"""The official client's own code for kubeconfig, credential plugins, TLS and proxies, without its weight.

`import kubernetes` reads a thousand models: a quarter of a second before the first request. The six modules that are
needed here use none of them. So their packages are registered bare, `__init__` not run, while these are imported, and
what they import for the sake of code that is never reached has a stand-in: oauthlib and google.auth are for the
`auth-provider` of a kubeconfig, which is refused; multiprocessing and importlib.metadata are for one line each.

Afterwards `sys.modules` is as it was: whoever imports the real `kubernetes` in this process gets the real one.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from contextlib import contextmanager
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "ConfigException",
    "ConfigNode",
    "Configuration",
    "ExecProvider",
    "InClusterConfigLoader",
    "KubeConfigLoader",
    "KubeConfigMerger",
    "RESTClientObject",
    "YAMLError",
    "parse_rfc3339",
    "remove_temp_files",
    "urllib3",
]

_BARE_PACKAGES = ("kubernetes", "kubernetes.client", "kubernetes.config", "kubernetes.utils")


def _stand_in(name: str, **attributes: Any) -> ModuleType:
    module = ModuleType(name)
    vars(module).update(attributes)
    return module


def _bare(name: str) -> ModuleType:
    spec = importlib.util.find_spec(name)
    if spec is None:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    return importlib.util.module_from_spec(spec)


def _is_official(name: str) -> bool:
    return name.partition(".")[0] == "kubernetes"


@contextmanager
def _without_the_weight() -> Iterator[None]:
    stand_ins = {
        "google": None,
        "importlib.metadata": _stand_in("importlib.metadata", version=None),
        "multiprocessing": _stand_in("multiprocessing", cpu_count=os.cpu_count),
        "oauthlib": _stand_in("oauthlib"),
        "oauthlib.oauth2": _stand_in("oauthlib.oauth2"),
        "requests_oauthlib": _stand_in("requests_oauthlib", OAuth2Session=None),
    }
    before = {name: module for name, module in sys.modules.items() if _is_official(name) or name in stand_ins}
    for name in before:
        del sys.modules[name]
    sys.modules.update(stand_ins)  # type: ignore[arg-type]  # it is None that makes an import fail
    try:
        for name in _BARE_PACKAGES:
            sys.modules[name] = _bare(name)
        yield
    finally:
        for name in [name for name in sys.modules if _is_official(name) or name in stand_ins]:
            del sys.modules[name]
        sys.modules.update(before)


with _without_the_weight():
    import urllib3
    from kubernetes.client.configuration import Configuration

    # What kube_config looks for in the package itself. It calls an ApiClient for an auth-provider only.
    vars(sys.modules["kubernetes.client"]).update(Configuration=Configuration, ApiClient=None)
    from kubernetes.client.rest import RESTClientObject
    from kubernetes.config import dateutil, exec_provider, incluster_config, kube_config
    from kubernetes.config.config_exception import ConfigException

# These have no types.
ConfigNode: Any = kube_config.ConfigNode
ExecProvider: Any = exec_provider.ExecProvider
InClusterConfigLoader: Any = incluster_config.InClusterConfigLoader
KubeConfigLoader: Any = kube_config.KubeConfigLoader
KubeConfigMerger: Any = kube_config.KubeConfigMerger
parse_rfc3339: Any = dateutil.parse_rfc3339

_yaml: Any = vars(kube_config)["yaml"]
YAMLError: type[Exception] = _yaml.YAMLError


def _safe_load(stream: Any) -> Any:
    """The same YAML, by libyaml where there is one: 1 ms instead of 10 for a kubeconfig of three clusters."""
    return _yaml.load(stream, Loader=getattr(_yaml, "CSafeLoader", _yaml.SafeLoader))


vars(kube_config)["yaml"] = _stand_in("yaml", safe_load=_safe_load, YAMLError=YAMLError)


def remove_temp_files() -> None:
    """Take away what the official loader wrote for OpenSSL, which reads keys from files only.

    It makes them with mode 0600 and removes them at exit; there is no need to keep a key on a disk for so long.
    """
    kube_config._cleanup_temp_files()  # type: ignore[no-untyped-call]  # noqa: SLF001 - there is no public way

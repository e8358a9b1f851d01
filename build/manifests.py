"""The krew manifests: one template, filled for each plugin with what lies in a folder of archives."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from string import Template
from textwrap import indent
from typing import TYPE_CHECKING

from archives import archives_in
from clone import ROOT

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from archives import Archive

FOLDER = ROOT / "krew/plugins"

_MANIFEST = Template("""\
apiVersion: krew.googlecontainertools.github.com/v1alpha2
kind: Plugin
metadata:
  name: $name
spec:
  version: v$version
  homepage: $homepage
  shortDescription: $short
  description: |
$description
  caveats: |
$caveats
  platforms:
$platforms
""")
_PLATFORM = Template("""\
  - selector:
      matchLabels:
        os: $os
        arch: $arch
    uri: $uri
    sha256: "$sha256"
    bin: $bin
""")
# krew can make no second link: what completes is the plugin itself, called by another name.
_CAVEATS = Template("""\
$needs

It is called "kubectl $name", with a dash: "kubectl istio root" and its like are other names to kubectl.

For completion of its options, contexts, namespaces and pods, beside kubectl's own:
  cd "$${KREW_ROOT:-$$HOME/.krew}/bin"
  ln -s $command kubectl_complete-$plugin
Remove that link before you uninstall. Without kubectl's completion: source <(kubectl $name completion bash)

The plugin unpacks itself into $$TMPDIR (else /tmp) at each start. Where that is mounted noexec or is full,
set TMPDIR to another folder.
""")


@dataclass(frozen=True, slots=True)
class Words:
    """What krew says of a plugin: `short` in its lists (50 characters), `needs` after the installation."""

    short: str
    description: str
    needs: str


_WORDS = {
    "istio_root": Words(
        "Which CA signs in an Istio mesh; extend its root",
        """\
An Istio mesh lives on one root certificate. When it ends, every handshake
fails at once, and no log names the cause. This says which CA signs in a mesh,
from where, until when, what its own renewal will do, and whether everybody
holds its root. "transition" gives a self-signed root ten more years, with the
same key, and no failed handshake; "restore" takes that back. Both print a plan,
and write with --apply alone. For Citadel (Istio 1.0-1.4) and istiod (1.5 and
later), live or from a recording.""",
        """\
It lists pods and configmaps of all namespaces, and gets the CA's Secrets in the control plane's namespace
(none with --public). "transition --apply" patches the CA's Secret and restarts the control plane.""",
    ),
    "istio_proxyver": Words(
        "Which Istio proxies run which version",
        """\
Finds every proxy of an Istio mesh (sidecars, gateways, waypoints, ztunnels),
its version, its owner and the end of its support, and says which of them
cannot take a new root certificate.""",
        "It lists pods of all namespaces.",
    ),
    "istio_certverify": Words(
        "Does every Istio proxy trust the root that signs",
        """\
Holds every stored copy of trust and the memory of every running proxy against
the root that signs now in an Istio mesh, and names who would fail a handshake
today, at the next restart or after a change of the root.""",
        """\
It lists pods, configmaps, webhook configurations and Secrets of all namespaces (no Secret with --public), and asks
proxies through pods/portforward, or where that is forbidden through pods/exec.""",
    ),
}


def rendered_paths() -> frozenset[str]:
    """The files that a release writes into the clone, as git names them."""
    return frozenset(f"krew/plugins/{_name(plugin)}.yaml" for plugin in _WORDS)


def render(archives: Path, version: str, base_url: str, homepage: str) -> list[Path]:
    """Write the manifest of each plugin of which an archive is there, for the platforms of its archives alone."""
    by_plugin: dict[str, list[Archive]] = defaultdict(list)
    for archive in archives_in(archives, version):
        by_plugin[archive.plugin].append(archive)
    FOLDER.mkdir(parents=True, exist_ok=True)
    for file in FOLDER.glob("*.yaml"):
        file.unlink()  # a plugin that is not released any more is none of the index
    return [_write(plugin, found, version, base_url, homepage) for plugin, found in sorted(by_plugin.items())]


def _write(plugin: str, archives: Sequence[Archive], version: str, base_url: str, homepage: str) -> Path:
    words, name = _WORDS[plugin], _name(plugin)
    caveats = _CAVEATS.substitute(needs=words.needs, name=name, plugin=plugin, command=f"kubectl-{plugin}")
    platforms = "".join(
        _PLATFORM.substitute(
            os=archive.os,
            arch=archive.arch,
            uri=json.dumps(f"{base_url.rstrip('/')}/{archive.file.name}"),
            sha256=archive.sha256,
            bin=archive.binary,
        )
        for archive in archives
    )
    manifest = FOLDER / f"{name}.yaml"
    text = _MANIFEST.substitute(
        name=name,
        version=version,
        homepage=json.dumps(homepage),
        short=json.dumps(words.short),
        description=indent(words.description, "    "),
        caveats=indent(caveats.rstrip(), "    "),
        platforms=platforms.rstrip(),
    )
    manifest.write_text(text, encoding="utf-8")
    return manifest


def _name(plugin: str) -> str:
    return plugin.replace("_", "-")

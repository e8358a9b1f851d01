"""Istio's versions, and the rules that hang on them, as data."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache

# A tag may name the program before the release (`istio-proxyv2-1.14.3`); a daily build has a branch (`release-1.1-…`).
_RELEASE = re.compile(
    r"(?:(?:mirrored|release|istio|proxyv2|proxy|ztunnel|pilot|istiod)[-_])*"
    r"v?(\d{1,3})\.(\d{1,3})(?:\.(\d{1,4})(?=$|[-+._])|(?=$|[-+_]))"
)
_IMAGE_TYPE = re.compile(r"-(?:distroless|debug|default)(?=$|-)")
# Whose tag is Istio's release. A private name may count anything, and Envoy's own releases look like Istio's.
_ISTIO = re.compile(r"istio|^:|(?:^|[-_/:])(?:proxyv2|ztunnel|pilot|citadel|galley|mixer|node-agent)(?:$|[-_:])")
# Products that count themselves: OpenShift Service Mesh 2.4 is Istio 1.16.
_OTHER_COUNT = re.compile(r"maistra|openshift-service-mesh/(?:proxyv2|pilot|ztunnel)")
_LATEST_MAJOR = 1


@dataclass(frozen=True, slots=True, order=True)
class IstioVersion:
    """A release of Istio; `label` is what a build adds to it (`-distroless`, `-asm.4`, `-rc.0`) and orders nothing.

    Of a build that tells no more than its minor (`1.22-dev`) the patch is not `exact`: it counts as the first.
    """

    major: int
    minor: int
    patch: int
    label: str = field(default="", compare=False)
    exact: bool = field(default=True, compare=False)

    def __str__(self) -> str:
        return f"{self.number}{self.label}"

    @property
    def number(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}" if self.exact else f"{self.major}.{self.minor}"

    @property
    def build(self) -> str:
        """`1.19.10-asm.24`, `1.31.0-rc.0`: all but the type of the image."""
        return f"{self.number}{_IMAGE_TYPE.sub('', self.label)}" if self.label else self.number

    @property
    def line(self) -> tuple[int, int]:
        """Major and minor: what support and skew are counted by."""
        return self.major, self.minor

    def has(self, fixes: tuple[IstioVersion, ...]) -> bool:
        """Whether this release carries a change that came in these: one a release line, the oldest line first.

        Lines between and after the named ones carry it as well.
        """
        for fix in fixes:
            if fix.line == self.line:
                return self >= fix
        return bool(fixes) and self.line > fixes[0].line


def _versions(*texts: str) -> tuple[IstioVersion, ...]:
    numbers = (tuple(map(int, text.split("."))) for text in texts)
    return tuple(IstioVersion(major, minor, patch) for major, minor, patch in numbers)


# The CA renews its own root before it ends (selfsignedcarootcertrotator.go).
ROTATOR = _versions("1.2.9", "1.3.5", "1.4.0")
# That renewal keeps the organization of the old subject; before, it took the trust domain (istio#19644).
KEEPS_ORGANIZATION = _versions("1.3.7", "1.4.3", "1.5.0")
# istiod refuses to start with a `cacerts` that has some of its four files but not all.
REFUSES_INCOMPLETE = _versions("1.26.1", "1.27.0")
# `cacerts` may hold kubernetes.io/tls names.
TLS_NAMES = _versions("1.15.0")
# Built by a Go that gives a certificate a SHA-1 key identifier (Go 1.15; the exact release line is not certain) ...
SHA1_IDENTIFIER = _versions("1.8.0")
# ... and by one whose module says `go 1.25`: the first 160 bits of SHA-256 (istio go.mod, RFC 7093).
SHA256_IDENTIFIER = _versions("1.29.0")
# The agent takes a new root from its mounted files while it runs (istio.io, root transition).
RELOADS_ROOT = _versions("1.0.8", "1.1.8")
# From here until then it watched each file and not their folder: kubelet's exchange goes by unseen (istio#14540).
WATCHES_FILES = _versions("1.1.3")
# istiod publishes nothing in the namespaces that Kubernetes keeps for itself, and in kube-system not until the second.
SKIPS_NAMESPACES, KEEPS_KUBE_SYSTEM = _versions("1.11.0"), _versions("1.21.0")
# Citadel serves namespaces by their labels.
SERVES_BY_LABEL = _versions("1.3.0")
# istiod answered with the last root of a bundle alone (istio#55793).
LOSES_ROOTS = _versions("1.24.4", "1.25.1")
# ztunnel takes every root of a bundle (ztunnel#1510, and an istiod that sends them).
ZTUNNEL_BUNDLES = _versions("1.24.6", "1.25.3", "1.26.0")


@lru_cache(maxsize=1024)  # a mesh has thousands of proxies and few images
def image_version(image: str) -> IstioVersion | None:
    """Read the release from an image's tag; None where there is no tag, or the tag does not tell.

    A registry's port is no tag, and a digest says nothing: `host:5000/istio/pilot:1.29.2-distroless@sha256:…`.
    """
    name = image.partition("@")[0]
    tag = name.rpartition("/")[2].partition(":")[2]
    return parse_version(tag) if _ISTIO.search(name) and not _OTHER_COUNT.search(name) else None


def parse_version(text: str) -> IstioVersion | None:
    """Read a release as a tag or a program says it; None where it says none of Istio's."""
    release = _RELEASE.match(text)
    if release is None or int(release[1]) > _LATEST_MAJOR:
        return None
    major, minor, patch = release.groups()
    label = text[release.end() :]
    return IstioVersion(int(major), int(minor), int(patch or 0), label, exact=patch is not None)

"""Istio's versions, and the rules that hang on them, as data."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_RELEASE = re.compile(r"v?(\d+)\.(\d+)(?:\.(\d+))?(?=$|[-+.])")


@dataclass(frozen=True, slots=True, order=True)
class IstioVersion:
    """A release of Istio; `label` is what a build adds to it (`-distroless`, `-asm.4`, `-rc.0`) and orders nothing."""

    major: int
    minor: int
    patch: int
    label: str = field(default="", compare=False)

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}{self.label}"

    def has(self, fixes: tuple[IstioVersion, ...]) -> bool:
        """Whether this release carries a change that came in these: one a release line, the oldest line first.

        Lines between and after the named ones carry it as well.
        """
        line = (self.major, self.minor)
        for fix in fixes:
            if (fix.major, fix.minor) == line:
                return self >= fix
        return bool(fixes) and line > (fixes[0].major, fixes[0].minor)


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


def image_version(image: str) -> IstioVersion | None:
    """Read the release from an image's tag; None where there is no tag, or the tag does not tell.

    A registry's port is no tag, and a digest says nothing: `host:5000/istio/pilot:1.29.2-distroless@sha256:…`.
    """
    name = image.partition("@")[0].rpartition("/")[2]
    tag = name.partition(":")[2]
    release = _RELEASE.match(tag)
    if release is None or release[3] is None:
        return None
    major, minor, patch = (int(number) for number in release.groups())
    return IstioVersion(major, minor, patch, tag[release.end() :])

"""Asking a source for what a mesh is made of, and keeping account of what stayed unseen."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from meshtrust.errors import Unseen
from meshtrust.mesh.model import Gap
from meshtrust.objects import KubeObject, Ref, Unread
from meshtrust.octets import from_base64

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from meshtrust.certificates import Certificate
    from meshtrust.mesh.model import Sight
    from meshtrust.source import Source


class Look:
    """One reading of a source: it grows while it is asked, and is read out once at the end."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.gaps: list[Gap] = []
        self.broken: list[Unread] = []
        self.exposed: list[Ref] = []
        self.remarks: list[str] = []
        # The only namespaces in which control planes could be looked for; None where it was all of them.
        self.searched: tuple[str, ...] | None = None

    def objects(
        self,
        sight: Sight,
        kind: str,
        *,
        namespace: str = "",
        name: str = "",
        labels: Mapping[str, str] | None = None,
    ) -> Iterator[KubeObject]:
        """Give what can be read; what cannot becomes a gap of this sight."""
        try:
            for found in self.source.objects(kind, namespace=namespace, name=name, labels=labels):
                if isinstance(found, Unread):
                    self.gaps.append(Gap(found.ref, sight, found.why))
                else:
                    yield found
        except Unseen as error:
            self.gaps.append(Gap(Ref(kind, namespace, name), sight, error.message))

    def one(self, sight: Sight, kind: str, namespace: str, name: str) -> KubeObject | None:
        return next(self.objects(sight, kind, namespace=namespace, name=name), None)

    def text(self, found: KubeObject, key: str) -> str:
        """The text under a data key: empty where the key is missing, null or empty; broken base64 is remembered."""
        value = (found.body.get("data") or {}).get(key) or ""
        return self.decoded(found.ref.at(key), value) if found.ref.kind == "Secret" else value

    def decoded(self, ref: Ref, value: str) -> str:
        try:
            return from_base64("".join(value.split())).decode(errors="replace")
        except ValueError:
            self.broken.append(Unread(ref, "not base64"))
            return ""

    def certificates(self, ref: Ref, text: str) -> tuple[Certificate, ...]:
        """The certificates of a PEM text; each block that is none is remembered under its place.

        A private key is at home in a Secret and nowhere else.
        """
        from meshtrust.certificates import parse_pem  # noqa: PLC0415 - where no certificate is read, none is paid for

        bundle = parse_pem(text)
        if bundle.private_keys and ref.kind != "Secret":
            self.exposed.append(ref)
        self.broken.extend(Unread(ref, why) for why in bundle.broken)
        return bundle.certificates


def moment(timestamp: str) -> datetime | None:
    """Read a Kubernetes timestamp (RFC 3339); None where there is none."""
    try:
        return datetime.fromisoformat(timestamp)
    except ValueError:
        return None

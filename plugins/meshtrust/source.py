"""The questions asked of a cluster, live (`cluster`) or recorded (`manifests`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, Self

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime, timedelta

    from meshtrust.objects import KubeObject, Ref, Unread


FIELD_MANAGER = "kubectl-istio-root"  # under this name `metadata.managedFields` keeps what we wrote


@dataclass(frozen=True, slots=True)
class Scope:
    """What to look at: empty means everywhere, every revision.

    `namespace` narrows what is judged, never the search for the CA. `public` asks for no Secret at all. `everywhere`
    says that all namespaces were asked for in words (`-A`).
    """

    istio_namespace: str = ""
    revision: str = ""
    namespace: str = ""
    public: bool = False
    everywhere: bool = False


class Source(Protocol):
    """A place to read a mesh from. Both kinds give the same objects for the same mesh."""

    @property
    def recorded(self) -> bool:
        """A recording cannot answer what only a live server knows: rights, clock, memory."""
        ...

    @property
    def taken_at(self) -> datetime | None:
        """When the recording was taken, where it knows that; None for a live cluster."""
        ...

    @property
    def wished(self) -> str:
        """What a run asked for that was narrowed and recorded this, in its plugin's own words; else nothing."""
        ...

    @property
    def clock_skew(self) -> timedelta | None:
        """How far the API server's clock is ahead of ours; None before the first answer, and in a recording."""
        ...

    @property
    def unread(self) -> tuple[Unread, ...]:
        """Files of a recording that could not be read."""
        ...

    @property
    def exposed(self) -> tuple[Ref, ...]:
        """Files of a recording that carry a private key outside the `data` of a Secret."""
        ...

    def objects(
        self,
        kind: str,
        *,
        namespace: str = "",
        name: str = "",
        labels: Mapping[str, str] | None = None,
        selector: str = "",
    ) -> Iterator[KubeObject | Unread]:
        """Every object of one kind (a key of `objects.KINDS`), narrowed by what is given, each once.

        An empty namespace means all namespaces; `selector` is one of labels as a user types it (`selectors`). What does
        not exist, a kind that the server does not serve included, gives nothing. Raises `NotAllowed` or `Unreachable`
        where the question was not answered, and that also in the middle of a list.
        """
        ...

    def until(self, moment: float) -> Self:
        """The same source, whose `objects` wait for no answer after a moment of `time.monotonic`: `Unreachable`."""
        ...

    def holds(self, kind: str) -> bool:
        """Say whether this source can know of a kind at all: a recording without any Secret does not know of them."""
        ...

    def proxy_admin(self, pod: Ref, path: str, *, port: int, container: str) -> bytes:
        """What a proxy's admin interface answers to a GET of `path` (`config_dump?mask=...`, without the first slash).

        Raises `NotAllowed` where every way to it is forbidden, `Unreachable` where it gives no whole answer, or where a
        recording does not hold one.
        """
        ...


@dataclass(frozen=True, slots=True)
class Right:
    """A right as RBAC knows it. `kind` is a key of `objects.KINDS`; an empty namespace is the cluster-wide request."""

    verb: str
    kind: str
    namespace: str = ""
    name: str = ""
    subresource: str = ""


class Living(Source, Protocol):
    """A live cluster, which can be changed as well: each write is one guarded request, never tried again blindly."""

    @property
    def described(self) -> str:
        """What a person must know before a write: the context's name and the server."""
        ...

    def may(self, right: Right) -> bool:
        """Ask a SelfSubjectAccessReview. Raises `Unseen` where that has no answer."""
        ...

    def patch(self, ref: Ref, change: Mapping[str, Any]) -> KubeObject:
        """Merge a change into an object (RFC 7386) in one request, and give the object as it is from then on.

        A `metadata.resourceVersion` in the change guards it. Raises `Conflict` where that is no longer the object's,
        `Refused` where the write was refused and `NotAllowed` where the right is missing: in all three the object is as
        it was. Raises `Unreachable` where it broke off: then only reading the object tells whether it was written.
        """
        ...

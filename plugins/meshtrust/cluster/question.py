"""One question to the API server: its path, and how it is called in messages."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

if TYPE_CHECKING:
    from meshtrust.objects import Kind


@dataclass(frozen=True, slots=True)
class Question:
    kind: Kind
    version: str
    namespace: str = ""
    name: str = ""
    selector: str = ""
    after: str | None = ""  # the `continue` of the page before; None asks for all in one piece

    @property
    def of_one(self) -> bool:
        """Whether the answer is one object; where a name alone is given, a list knows in which namespaces it is."""
        return bool(self.name) and not self.selector and (bool(self.namespace) or not self.kind.namespaced)

    @property
    def group(self) -> str:
        return self.version.rpartition("/")[0]

    @property
    def path(self) -> str:
        parts = ["apis" if self.group else "api", self.version]
        if self.namespace and self.kind.namespaced:
            parts += ["namespaces", quote(self.namespace, safe="")]
        parts += [self.kind.plural]
        if self.of_one:
            parts += [quote(self.name, safe="")]
        return "/" + "/".join(parts) + self._query

    @property
    def _query(self) -> str:
        if self.of_one:
            return ""
        fields = [f"metadata.name={self.name}"] if self.name else []
        fields += [f"type={self.kind.typed}"] if self.kind.typed else []
        wanted = {
            "limit": "" if self.after is None else str(self.kind.page),
            "continue": self.after or "",
            "fieldSelector": ",".join(fields),
            "labelSelector": self.selector,
        }
        said = {key: value for key, value in wanted.items() if value}
        return f"?{urlencode(said)}" if said else ""

    @property
    def verb(self) -> str:
        return "get" if self.of_one else "list"

    @property
    def resource(self) -> str:
        return f"{self.kind.plural}.{self.group}" if self.group else self.kind.plural

    @property
    def scope(self) -> str:
        if self.namespace and self.kind.namespaced:
            return f'in namespace "{self.namespace}"'
        return "at the cluster scope"

    def __str__(self) -> str:
        name = f' "{self.name}"' if self.of_one else ""
        return f"{self.verb} {self.resource}{name} {self.scope}"

    @property
    def can_i(self) -> str:
        """The right, as `kubectl auth can-i` is asked for it."""
        scope = f"-n {self.namespace}" if self.namespace and self.kind.namespaced else "-A"
        return f"{self.verb} {self.resource} {scope}"

    def page(self, after: str) -> Question:
        return replace(self, after=after)

    def at_once(self) -> Question:
        return replace(self, after=None)

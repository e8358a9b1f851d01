"""The CA's Secret as an object: what stands in it, who writes it, and what a change of its root writes."""

from __future__ import annotations

import re
from base64 import b64encode
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from meshtrust.certificates import parse_pem
from meshtrust.mesh import Look, Sight, names
from meshtrust.mesh.look import moment
from meshtrust.objects import KubeObject
from meshtrust.source import FIELD_MANAGER

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from meshtrust.certificates import Certificate
    from meshtrust.objects import Ref
    from meshtrust.source import Source

# What istiod and Citadel write as, and who writes once, by hand: neither keeps an object as something else has it.
_KEEP_NOTHING = ("pilot-discovery", "istio_ca", "istiod", "citadel", FIELD_MANAGER)
_BY_HAND = frozenset({"kubectl", "kubectl-create", "kubectl-edit", "kubectl-patch", "kubectl-replace"})
_NOTE = re.compile(f"^{names.PREVIOUS_NOTE}$", re.MULTILINE)
# Labels and annotations of what keeps objects as a repository has them, or makes them of something else.
_KEEPERS = {
    "argocd.argoproj.io/instance": "Argo CD",
    "argocd.argoproj.io/tracking-id": "Argo CD",
    "kustomize.toolkit.fluxcd.io/name": "Flux",
    "helm.toolkit.fluxcd.io/name": "Flux",
    "meta.helm.sh/release-name": "Helm",
    "objectset.rio.cattle.io/id": "Fleet",
    "configmanagement.gke.io/managed": "Config Sync",
    "reconcile.external-secrets.io/data-hash": "External Secrets",
    "sealedsecrets.bitnami.com/managed": "Sealed Secrets",
    "kapp.k14s.io/app": "kapp",
}


@dataclass(frozen=True, slots=True)
class Writer:
    """Who has written the object, as its managedFields have it; `when` is empty where that is not kept.

    applies: by server-side apply, which is how what is kept in a repository comes (also by `kubectl` itself)
    of_root: whether `ca-cert.pem` stands there as it wrote it
    """

    manager: str
    when: str
    applies: bool = False
    of_root: bool = False


@dataclass(frozen=True, slots=True)
class CaSecret:
    """What stands in it beside the private key, which is not kept.

    held: the certificates of `ca-cert.pem`, of which the first signs; copied: those of `root-cert.pem`
    previous: what a change before this one kept; supersedes: the fingerprint of what it was kept for, and since when
    restored: whether it was set aside by `restore`
    """

    ref: Ref
    resource_version: str
    immutable: bool
    ending: bool
    writers: tuple[Writer, ...]
    keepers: tuple[str, ...]
    held: tuple[Certificate, ...]
    copied: tuple[Certificate, ...]
    previous: Certificate | None
    supersedes: str
    superseded_at: datetime | None
    restored: bool

    @property
    def ours(self) -> bool:
        """Whether the root that stands there was put there by this tool: the note beside it names it."""
        return bool(self.held) and self.supersedes == self.held[0].fingerprint

    @property
    def written(self) -> datetime | None:
        """When the root that stands there was put there: by this tool, or by the control plane, which dates it so.

        The note has the moment of the plan, which may have waited long for an answer, or for whoever applies its patch;
        managedFields have the write's. A label that somebody else gives the Secret is no write of the root; of several
        who have written the same one, it stood there with the first.
        """
        if not self.ours:
            return self.held[0].not_before if self.held else None
        writes = (moment(one.when) for one in self.writers if one.of_root)
        first = min((at for at in writes if at), default=None)
        return max((at for at in (first, self.superseded_at) if at), default=None)

    @property
    def strangers(self) -> tuple[Writer, ...]:
        """Who has written to it and may do so again: nobody by hand, nor the control plane, nor this tool."""
        others = (one for one in self.writers if one.applies or one.manager not in _BY_HAND)
        return tuple(one for one in others if not one.manager.startswith(_KEEP_NOTHING))

    @property
    def last_writer(self) -> str:
        # Times are whole seconds: of two in one, it was the other one who wrote after us.
        latest = max(self.writers, key=lambda one: (one.when, one.manager != FIELD_MANAGER), default=None)
        return f"{latest.manager} at {latest.when}" if latest else "nobody that its managedFields would name"


@dataclass(frozen=True, slots=True)
class Change:
    """One root in the place of another. `texts` are all data keys that are written: public parts only."""

    old: Certificate
    new: Certificate
    texts: Mapping[str, str] = field(repr=False)

    def patch(self, secret: CaSecret) -> dict[str, Any]:
        """A merge patch (RFC 7386) that the API server takes only while the object is as it was read.

        A recording that has no version of the object makes one that is taken in any case.
        """
        encoded = {key: b64encode(text.encode()).decode() for key, text in self.texts.items()}
        guard = {"resourceVersion": secret.resource_version} if secret.resource_version else {}
        return {"metadata": guard, "data": encoded}


def read_secret(look: Look, ref: Ref) -> CaSecret | None:
    """None where it is not there, or (then that is a gap) cannot be read."""
    found = look.one(Sight.CA, "Secret", ref.namespace, ref.name)
    if found is None:
        return None
    metadata = found.body["metadata"]
    previous = look.text(found, names.PREVIOUS)
    note = _NOTE.search(previous)
    return CaSecret(
        ref=found.ref,
        resource_version=metadata.get("resourceVersion", ""),
        immutable=bool(found.body.get("immutable")),
        ending=bool(metadata.get("deletionTimestamp")),
        writers=tuple(
            Writer(
                one.get("manager", ""), one.get("time") or "", one.get("operation") == "Apply", of_root=_is_of_root(one)
            )
            for one in metadata.get("managedFields") or ()
        ),
        keepers=tuple(dict.fromkeys(_keepers(found))),
        held=parse_pem(look.text(found, names.SIGNING)).certificates,
        copied=parse_pem(look.text(found, names.ROOTS)).certificates,
        previous=next(iter(parse_pem(previous).certificates), None) if previous else None,
        supersedes=note[2] if note else "",
        superseded_at=moment(note[3]) if note else None,
        restored=bool(note and note[1] == "set aside"),
    )


def _is_of_root(entry: Mapping[str, Any]) -> bool:
    fields = entry.get("fieldsV1") or {}
    return f"f:{names.SIGNING}" in fields.get("f:data", {})


def read_key(source: Source, ref: Ref) -> str:
    """The private key, for the moment in which it signs: it is kept nowhere. Empty where it is not there.

    Raises `NotAllowed` and `Unreachable` as the source does.
    """
    found = next(source.objects("Secret", namespace=ref.namespace, name=ref.name), None)
    return Look(source).text(found, names.SIGNING_KEY) if isinstance(found, KubeObject) else ""


def replacing(secret: CaSecret, old: Certificate, new: Certificate, now: datetime, *, restored: bool) -> Change:
    """What puts a root in the place of the one that signs, and keeps that one beside it.

    Further roots stay. `root-cert.pem` is written where it was filled: each edition in it that the new root stands in
    for gives way to it; with `istio-generated` the file is part of the bundle, and other roots in it are still needed.
    """
    kept = [one for one in secret.held[1:] if one != new]
    texts = {names.SIGNING: "".join(one.pem for one in (new, *kept))}
    if secret.copied:
        copied = dict.fromkeys(new if one.stands_in_for(new) else one for one in secret.copied)
        texts[names.ROOTS] = "".join(one.pem for one in copied)
    how = "set aside" if restored else "superseded"
    note = f"# {how} by sha256:{new.fingerprint} at {now:%Y-%m-%dT%H:%M:%SZ}\n"
    return Change(old, new, {**texts, names.PREVIOUS: f"{note}{old.pem}"})


def _keepers(found: KubeObject) -> Iterator[str]:
    for mark in (*found.labels, *found.annotations):
        if mark in _KEEPERS:
            yield f"{_KEEPERS[mark]} ({mark})"
    if found.labels.get("app.kubernetes.io/managed-by") == "Helm":
        yield "Helm (app.kubernetes.io/managed-by)"

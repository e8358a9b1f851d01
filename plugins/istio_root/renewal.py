"""A self-signed CA renews its own root. When that is due, whether it will happen, and whether it will hurt."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from meshtrust.certificates import Certificate, KeyIdentifier, printable_organization
from meshtrust.durations import spoken
from meshtrust.findings import Level, Problem, Terms, check
from meshtrust.mesh import Authority, Era, Kind, Mesh, Renewal, Sight, names, renewal
from meshtrust.versions import KEEPS_ORGANIZATION, SHA1_IDENTIFIER, SHA256_IDENTIFIER

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from meshtrust.objects import Ref

_UNKNOWN = "its version is not known, so neither is what the renewal does to the key identifier"
_REFUSED = "ztunnel and Go will refuse one of the two roots"


@dataclass(frozen=True, slots=True)
class Forecast:
    """What becomes of one root. `due` is None where no renewal comes, or where its setting could not be seen."""

    place: Ref
    root: Certificate
    settings: Renewal | None
    due: datetime | None
    harm: str

    @property
    def switched_off(self) -> bool:
        interval = self.settings.interval if self.settings else None
        return interval is not None and interval <= timedelta(0)

    @property
    def open(self) -> bool:
        """Whether the renewal may change the key identifier, and nobody knows: it hangs on the version."""
        known = self.settings is not None and self.settings.version is not None
        return not known and self.root.key_identifier is not KeyIdentifier.NONE


def forecasts(mesh: Mesh) -> Iterator[Forecast]:
    for authority in mesh.authorities:
        if authority.kind is Kind.SELF_SIGNED and authority.signer and authority.instances:
            yield forecast_of(authority, authority.signer.ref, authority.signer.certificate)


def forecast_of(authority: Authority, place: Ref, root: Certificate) -> Forecast:
    """What would become of this root, whether it stands in the Secret already or not."""
    settings = renewal(authority.instances)
    due = None
    if settings and settings.share is not None:
        # Below this share of its life the rotator renews it (selfsignedcarootcertrotator.go).
        due = root.not_after - root.life * settings.share / 100
    return Forecast(place, root, settings, due, _harm(root, settings))


def _harm(root: Certificate, settings: Renewal | None) -> str:
    """Say what the renewal changes beside the dates: empty where every peer goes on accepting both editions."""
    version = settings.version if settings else None
    kept = root.organizations[0] if root.organizations else ""
    expected = printable_organization(kept)
    if version and not version.has(KEEPS_ORGANIZATION) and kept != names.TRUST_DOMAIN:
        return f"the subject bytes will change (Istio {version} writes its trust domain there): {_REFUSED}"
    if root.subject_bytes != expected:
        return f"the subject bytes will change (Istio keeps one organization, as a PrintableString): {_REFUSED}"
    if version is None:
        return ""
    made = (
        KeyIdentifier.SHA256
        if version.has(SHA256_IDENTIFIER)
        else KeyIdentifier.SHA1
        if version.has(SHA1_IDENTIFIER)
        else KeyIdentifier.NONE
    )
    held = root.key_identifier
    if KeyIdentifier.NONE in {made, held} or made is held:
        return ""  # a key identifier that is merely added or dropped disturbs nobody
    return (
        f"the key identifier will change (now {held}, Istio {version} makes {made}): Envoys that have moved and Envoys "
        "that have not will refuse each other until all have, half a day"
    )


def remark(forecast: Forecast, era: Era | None, now: datetime) -> str:
    """The forecast as a fact, in one line."""
    who = era or "the CA"
    settings = forecast.settings
    if settings is None:
        return f"renewal: this {who} does not renew its root by itself"
    if settings.interval is None or forecast.due is None:
        return f"renewal: whether {who} renews the root could not be seen (its setting comes by valueFrom)"
    if forecast.switched_off:
        return f"renewal: {who}'s own renewal of the root is switched off"
    when = f"{forecast.due:%Y-%m-%d}"
    coming = f"renews the root by itself, due {when}, in {spoken(forecast.due - now)}"
    came = f"should have renewed the root by itself, due {when}"
    outcome = forecast.harm or _harmless(settings)
    return f"renewal: {who} {coming if forecast.due > now else came}; {outcome}"


def _harmless(settings: Renewal) -> str:
    return _UNKNOWN if settings.version is None else "key, subject and key identifier will still fit"


@check(
    "renewal-done",
    Level.WARNING,
    says="a root past its point of renewal has been renewed",
    needs=(Sight.CA, Sight.SETTINGS),
    hint=f"switch it on ({names.CHECK_INTERVAL}=1h), or read in the control plane's log what keeps it from writing; "
    "kubectl istio-root transition does it now",
)
def renewal_done(mesh: Mesh, terms: Terms) -> Iterator[Problem]:
    for forecast in forecasts(mesh):
        if forecast.settings is None or forecast.due is None or not forecast.root.valid_at(terms.now):
            continue
        # The first look comes up to two intervals after a start.
        patience = 2 * max(forecast.settings.interval or timedelta(0), timedelta(0))
        if terms.now > forecast.due + patience:
            late = spoken(terms.now - forecast.due)
            why = "it is switched off" if forecast.switched_off else "it is not done"
            if forecast.settings.interval is None:
                why = "whether it is switched on could not be seen"
            yield Problem(forecast.place, f"the renewal was due {late} ago: {why}", certificate=forecast.root)


@check(
    "renewal-harmless",
    Level.WARNING,
    says="the CA's own renewal of its root, when it comes, disturbs no handshake",
    needs=(Sight.CA, Sight.SETTINGS),
    hint="kubectl istio-root transition moves it away: a new edition keeps key, subject bytes and key identifier",
)
def renewal_harmless(mesh: Mesh, terms: Terms) -> Iterator[Problem]:
    for forecast in forecasts(mesh):
        if forecast.due is None or forecast.switched_off or not (forecast.harm or forecast.open):
            continue
        if forecast.due - terms.now < terms.warn.of(forecast.root):
            when = f"due in {spoken(forecast.due - terms.now)}" if forecast.due > terms.now else "overdue"
            level = None if forecast.harm else Level.UNKNOWN
            yield Problem(forecast.place, f"{when}: {forecast.harm or _UNKNOWN}", level, certificate=forecast.root)

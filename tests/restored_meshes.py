"""Meshes by name whose root is to be put back, and what each plan must say."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from changed_meshes import (
    BARE,
    BLOCKED,
    CITADEL,
    CITADEL_RENEWED,
    ENDED,
    KEEPERS,
    PLANNED,
    SHA1,
    TRANSITIONS,
    TWO,
    UTF8,
    WARNED,
    YOUNG,
    Case,
    ending_in,
    kept,
    secret,
)
from istio_root.transition.wish import Verb, Wish
from meshes import CITADEL_ROOT, OFF, PLUGGED, RENEWED, ROOT, STRANGE, citadel, days, istiod
from sandbox import Authority, Ca, ControlPlane, Leaf, Mesh, Proxy
from verified_meshes import EVERYTHING

if TYPE_CHECKING:
    from collections.abc import Mapping

RESTORE = Wish(Verb.RESTORE)
_UNRENEWED = (replace(YOUNG[0], env=OFF),)


def _signing_for(**lives: str) -> tuple[ControlPlane, ...]:
    return (replace(YOUNG[0], env={**OFF, **lives}),)


AGED = replace(ROOT, starts=days(-3000.5), ends=days(649.5))
AFTER_A_CHANGE = istiod(ca=Authority(root=RENEWED), control_planes=YOUNG, edits=(kept(ROOT, RENEWED),))


def restored(mesh: Mesh, *checks: str, steps: tuple[str, ...] = PLANNED, level: str = BLOCKED) -> Case:
    return Case(mesh, level if checks else "ok", dict.fromkeys(checks, level), steps, RESTORE)


def after(previous: Ca, present: Ca = RENEWED, **parts: Any) -> Mesh:
    """A mesh whose root has been changed from one to the other."""
    given = {"ca": Authority(root=present), "control_planes": YOUNG, "edits": (kept(previous, present),)}
    return istiod(**(given | parts))


RESTORES: Mapping[str, Case] = {
    "the-root-of-before": restored(AFTER_A_CHANGE),
    "the-root-of-before-of-a-citadel": restored(
        citadel(
            ca=Authority(root=CITADEL_RENEWED),
            control_planes=YOUNG,
            edits=(kept(CITADEL_ROOT, CITADEL_RENEWED),),
        ),
        steps=CITADEL,
    ),
    "without-the-identifier-before": restored(after(SHA1, replace(BARE, starts=days(-1)), proxies=EVERYTHING[:4])),
    "none-kept": restored(istiod(), "previous-kept", steps=()),
    "of-another-key": restored(after(STRANGE), "previous-kept"),
    "with-another-subject": restored(after(UTF8), "previous-kept"),
    "with-another-identifier": restored(after(SHA1), "previous-kept"),
    "ended": restored(
        after(ENDED, control_planes=_UNRENEWED),
        "previous-kept",
    ),
    "ending-within-a-day": restored(after(ending_in(23), control_planes=_UNRENEWED), "previous-kept"),
    "ending-before-a-long-leaf": restored(
        after(
            ending_in(100), control_planes=_signing_for(DEFAULT_WORKLOAD_CERT_TTL="240h", MAX_WORKLOAD_CERT_TTL="96h")
        ),
        "previous-kept",
    ),
    "ending-after-leaves-that-are-short": restored(
        after(ending_in(20), control_planes=_signing_for(DEFAULT_WORKLOAD_CERT_TTL="12h", MAX_WORKLOAD_CERT_TTL="12h"))
    ),
    "ending-before-the-leaves-that-agents-ask-for": restored(
        after(ending_in(20), control_planes=_signing_for(DEFAULT_WORKLOAD_CERT_TTL="12h")), "previous-kept"
    ),
    "ending-before-the-leaves-of-a-citadel": restored(
        citadel(
            ca=Authority(root=CITADEL_RENEWED),
            control_planes=_UNRENEWED,
            edits=(kept(replace(ending_in(25), identifier="none"), CITADEL_RENEWED),),
        ),
        steps=CITADEL,
    ),
    "ending-after-a-day": restored(after(ending_in(25), control_planes=_UNRENEWED)),
    "not-valid-yet": restored(after(replace(ROOT, starts=days(1.02))), "previous-kept"),
    "old-enough-to-be-renewed-at-once": restored(after(AGED), "previous-lasts"),
    "old-where-nobody-renews": restored(after(AGED, control_planes=_UNRENEWED)),
    "old-where-citadels-renew-nothing": restored(
        citadel(
            version="1.1.10",
            ca=Authority(root=CITADEL_RENEWED),
            control_planes=YOUNG,
            edits=(kept(replace(CITADEL_ROOT, starts=days(-3000), ends=days(650)), CITADEL_RENEWED),),
        ),
        steps=CITADEL,
    ),
    "kept-before-a-renewal-by-another": restored(
        after(ROOT, edits=(kept(ROOT, replace(RENEWED, starts=days(-2))),)), "previous-is-last", level=WARNED
    ),
    "a-proxy-that-would-be-parted": restored(
        after(
            SHA1,
            replace(BARE, starts=days(-1)),
            proxies=(Proxy("ahead", "shop", holds=(ROOT,), leaf=Leaf(signed_by=ROOT)),),
        ),
        "proxies-unharmed",
    ),
    "a-secret-that-is-immutable": restored(
        after(ROOT, edits=(kept(ROOT, RENEWED), secret(immutable=True))), "secret-writable"
    ),
    "a-cacerts-waits": restored(after(ROOT, beside=(replace(PLUGGED, created=timedelta(hours=-1)),)), "restart-safe"),
    "kept-by-helm": restored(
        after(ROOT, edits=(kept(ROOT, RENEWED), secret(metadata=KEEPERS["helm-label"]))),
        "secret-unkept",
        level=WARNED,
    ),
    "a-change-that-is-not-loaded": Case(
        istiod(beside=(Authority(root=RENEWED),), edits=(kept(ROOT, RENEWED),)),
        WARNED,
        {"change-finished": WARNED},
        PLANNED,
        RESTORE,
    ),
    "cut-short": Case(
        istiod(
            ca=Authority(root=RENEWED),
            beside=(Authority(root=ROOT),),
            control_planes=YOUNG,
            edits=(kept(RENEWED, ROOT, at=timedelta(minutes=-5), restored=True),),
        ),
        WARNED,
        {"change-finished": WARNED},
        ("restart", "publish"),
        RESTORE,
    ),
    "cut-short-between-its-restarts": Case(
        istiod(control_planes=TWO, edits=(kept(RENEWED, ROOT, at=timedelta(hours=-4), restored=True),)),
        WARNED,
        {"change-finished": WARNED},
        ("restart", "publish"),
        RESTORE,
    ),
    "a-change-that-was-cut-short-between-its-restarts": Case(
        istiod(ca=Authority(root=RENEWED), control_planes=TWO, edits=(kept(ROOT, RENEWED, at=timedelta(hours=-4)),)),
        WARNED,
        {"change-finished": WARNED},
        ("write", "restart", "restart", "publish"),
        RESTORE,
    ),
}

ALL: Mapping[str, Case] = {**TRANSITIONS, **{f"restored-{name}": case for name, case in RESTORES.items()}}

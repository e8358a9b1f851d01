"""kubectl istio-root: its commands and what each can be told."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from meshtrust.cli import HELP_NAMES, Judge, command, seconds, threshold
from meshtrust.findings import Terms

if TYPE_CHECKING:
    from istio_root.transition.wish import Wish
    from meshtrust.reading import Reading
    from meshtrust.report import Report


class KeyIdentifier(StrEnum):
    """What becomes of the key identifier of the root."""

    KEEP = "keep"
    DROP = "drop"


app = typer.Typer(
    name="istio-root",
    help="Which CA signs in this Istio mesh, until when, and how to give it a new root safely.",
    context_settings=HELP_NAMES,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


@app.callback()
def root() -> None:
    """Which CA signs in this Istio mesh, until when, and how to give it a new root safely."""


@command(
    app,
    "expiry",
    examples="""\
  kubectl istio-root expiry
  kubectl istio-root expiry --warn 90d --crit 30d -o json
  kubectl istio-root expiry --public -q || page-somebody
  kubectl istio-root expiry -f bug-report.tar.gz -f secrets.yaml
""",
)
def expiry(
    warn: Annotated[
        str, typer.Option(help="Warn below this: a time, a share of its life, or the shorter of both.", metavar="LIMIT")
    ] = "60d,20%",
    crit: Annotated[str, typer.Option(help="Critical below this.", metavar="LIMIT")] = "14d,5%",
) -> Judge:
    """Find the CA that signs, and every certificate that can stop the mesh, the soonest end first."""
    limits = threshold(warn), threshold(crit)

    def judge(reading: Reading) -> Report:
        from istio_root.expiry import report  # noqa: PLC0415 - --help does not pay for it

        return report(reading.source, reading.scope, Terms(reading.now, *limits), reading.remarks)

    return judge


# All revisions and namespaces of a control plane live by one root, and that is kept in a Secret.
_UNSHOWN = ("revision", "namespace", "all_namespaces", "public")
_EXIT_CODES = (
    "Exit codes: 0 done, or a plan that nothing hinders, 1 a plan with warnings, 2 blocked, refused or conflict, "
    "3 a deadline, or something unseen, 64 usage, 130 interrupted."
)
_Apply = Annotated[bool, typer.Option("--apply", help="Carry the plan out.", show_default=False)]
_Yes = Annotated[bool, typer.Option("--yes", help="Do not ask before the write.", show_default=False)]
_NoRestart = Annotated[
    bool,
    typer.Option(
        "--no-restart", help="Leave the control plane to its own check, and say when that is.", show_default=False
    ),
]
_Wait = Annotated[
    bool,
    typer.Option(
        "--wait",
        help="Wait until every proxy holds the new root, too: half a day, so give it a --timeout.",
        show_default=False,
    ),
]
_Timeout = Annotated[str, typer.Option(help="How long all of it may take; 0 is no limit.", metavar="DURATION")]
_AcceptUnseen = Annotated[
    bool, typer.Option("--accept-unseen", help="Go on though something could not be seen.", show_default=False)
]


@command(
    app,
    "transition",
    examples="""\
  kubectl istio-root transition
  kubectl istio-root transition --apply
  kubectl istio-root transition --apply --wait --timeout 13h
  kubectl istio-root transition --key-identifier drop --apply --yes --timeout 30m
  kubectl istio-root transition --emit patch.yaml
  kubectl istio-root transition -f mesh.yaml --emit patch.yaml --key-file ca-key.pem
""",
    exit_codes=_EXIT_CODES,
    unshown=_UNSHOWN,
)
def transition(
    *,
    lifetime: Annotated[
        str, typer.Option(help="How long the new root lives.", metavar="DURATION", show_default="3650d")
    ] = "",
    key_identifier: Annotated[
        KeyIdentifier,
        typer.Option(
            help="keep it (default), or drop it: a step before istiod's own next renewal.", show_default=False
        ),
    ] = KeyIdentifier.KEEP,
    apply: _Apply = False,
    yes: _Yes = False,
    no_restart: _NoRestart = False,
    wait: _Wait = False,
    timeout: _Timeout = "15m",
    accept_unseen: _AcceptUnseen = False,
    emit: Annotated[
        str, typer.Option(help="Write the patch to a file instead, for others to apply.", metavar="FILE")
    ] = "",
    key_file: Annotated[str, typer.Option(help="The CA's key, for a recording, which has none.", metavar="FILE")] = "",
) -> Judge:
    """Plan a new edition of the self-signed root: same key, same name, other dates. --apply carries it out."""
    from istio_root.transition.wish import Verb, Wish, lifetime_of  # noqa: PLC0415 - as above

    return _changed(
        Wish(
            Verb.TRANSITION,
            lifetime=lifetime_of(lifetime),
            drop=key_identifier is KeyIdentifier.DROP,
            key_file=key_file,
            emit=emit,
            apply=apply,
            yes=yes,
            restart=not no_restart,
            wait=wait,
            timeout=seconds("--timeout", timeout),
            accept_unseen=accept_unseen,
        )
    )


@command(
    app,
    "restore",
    examples="""\
  kubectl istio-root restore
  kubectl istio-root restore --apply
  kubectl istio-root restore --apply --wait --timeout 13h
""",
    exit_codes=_EXIT_CODES,
    unshown=_UNSHOWN,
)
def restore(
    *,
    apply: _Apply = False,
    yes: _Yes = False,
    no_restart: _NoRestart = False,
    wait: _Wait = False,
    timeout: _Timeout = "15m",
    accept_unseen: _AcceptUnseen = False,
) -> Judge:
    """Plan to put the root back that stood there before the last change. --apply carries it out."""
    from istio_root.transition.wish import Verb, Wish  # noqa: PLC0415 - as above

    return _changed(
        Wish(
            Verb.RESTORE,
            apply=apply,
            yes=yes,
            restart=not no_restart,
            wait=wait,
            timeout=seconds("--timeout", timeout),
            accept_unseen=accept_unseen,
        )
    )


def _changed(wish: Wish) -> Judge:
    def judge(reading: Reading) -> Report:
        from istio_root.transition.changing import change  # noqa: PLC0415 - as above

        return change(reading, wish)

    return judge

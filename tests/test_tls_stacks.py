"""Our rule says what Go, OpenSSL, BoringSSL and rustls say in real handshakes, and what we issue again passes."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import rtls
from grpc._cython import cygrpc

import tls_stacks
from meshtrust.certificates import Certificate, Peer, refusal, rehearse, reissue
from tls_stacks import Missing, Question
from tls_stacks.forms import EC_KEY, KEY, LEAF_KEY, Form, leaf, read, root

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

NOW = datetime.now(UTC).replace(microsecond=0)  # the stacks know no other time


@dataclass(frozen=True, slots=True)
class Stack:
    """A TLS library, which of our peers it is, and what of a root's form it overlooks though its peer does not.

    Our rule is the strictest of a peer's libraries in each point: one may take what we refuse, never the reverse.
    """

    name: str
    command: Callable[[], list[str]]
    peer: Peer
    overlooks: frozenset[str] = frozenset()
    ask: Callable[[Sequence[Question]], list[str]] | None = None

    def accepts(self, *pairs: tuple[Certificate, Certificate]) -> list[bool]:
        """Whether it takes each leaf under each root."""
        assert self.ask, "it does not run"
        verdicts = self.ask([Question(workload.pem, LEAF_KEY, trusted.pem) for workload, trusted in pairs])
        assert len(verdicts) == len(pairs)
        return [not refused for refused in verdicts]

    def seen(self, form: Form) -> Form:
        """The form without what this library overlooks."""
        return Form(**{what: value for what, value in fields_of(form) if value not in self.overlooks})


def fields_of(form: Form) -> list[tuple[str, Any]]:
    return [(each.name, getattr(form, each.name)) for each in fields(form)]


STACKS = (
    Stack("Go", tls_stacks.go, Peer.OCTETS),
    # Where its keyUsage lets it sign, a root may do without basic constraints (X509_check_ca).
    Stack("OpenSSL", tls_stacks.openssl, Peer.ENVOY, frozenset({"no CA at all"})),
    # What is trusted need not be a CA.
    Stack("BoringSSL", tls_stacks.boringssl, Peer.ENVOY, frozenset({"no CA at all", "CA:FALSE"})),
    # Of what is trusted, only the subject, the key and name constraints are kept (the TrustAnchor of rustls-webpki).
    Stack(
        "rustls",
        tls_stacks.rustls,
        Peer.OCTETS,
        frozenset({"no CA at all", "CA:FALSE", "signs no certificates", "expired", "not yet valid"}),
    ),
)


@pytest.fixture(scope="module", params=STACKS, ids=lambda stack: stack.name)
def stack(request: pytest.FixtureRequest) -> Iterator[Stack]:
    chosen: Stack = request.param
    try:
        command = chosen.command()
    except Missing as lack:
        pytest.skip(f"{chosen.name.upper()} IS NOT ASKED: {lack}")
    with tls_stacks.running(command) as ask:
        yield replace(chosen, ask=ask)


WRITTEN = tuple(
    Form(string=string, identifier=identifier, usage=usage)
    for string, identifier, usage in product(
        ("PrintableString", "UTF8String"), ("SHA-1", "SHA-256", "none"), ("signs", "absent")
    )
)
TRUSTED = (
    *(replace(form, dates=dates) for form in WRITTEN for dates in ("valid", "new", "expired", "not yet valid")),
    Form(usage="signs no certificates"),
    Form(basic="CA:FALSE"),
    Form(basic="no CA at all"),
    Form(key="another", identifier="none"),
)
GO_1_24, GO_1_25 = Form(identifier="SHA-1"), Form(identifier="SHA-256")  # as istiod up to 1.28, and after, writes roots


def test_our_rule_says_of_every_leaf_under_every_root_what_the_stack_says(stack: Stack) -> None:
    # What a leaf shows of its root is the name and the key identifier.
    asked = list(product((form for form in WRITTEN if form.usage == "signs"), TRUSTED))
    accepted = stack.accepts(*((leaf(root(signer, NOW), NOW), root(form, NOW)) for signer, form in asked))
    ours = {
        (signer, form): not refusal(leaf(root(signer, NOW), NOW), as_seen, stack.peer) and as_seen.valid_at(NOW)
        for signer, form in asked
        for as_seen in [root(stack.seen(form), NOW)]
    }
    assert dict(zip(asked, accepted, strict=True)) == ours


@pytest.mark.parametrize("dates", [(-48, -1), (1, 24), (-1, 1)], ids=["expired", "not yet valid", "valid"])
def test_the_dates_of_a_leaf_are_minded_by_everyone(stack: Stack, dates: tuple[int, int]) -> None:
    starts, ends = (timedelta(hours=hours) for hours in dates)
    workload = leaf(root(GO_1_24, NOW), NOW, starts, ends)
    assert stack.accepts((workload, root(GO_1_24, NOW))) == [workload.valid_at(NOW)]


def test_they_are_what_they_are_called() -> None:
    assert ssl.OPENSSL_VERSION.startswith("OpenSSL ")
    assert rtls.OPENSSL_VERSION.startswith("Rustls ")
    assert b"BoringSSL" in Path(cygrpc.__file__).read_bytes()


@pytest.mark.parametrize("drop_identifier", [False, True], ids=["keep", "drop"])
def test_a_reissued_root_is_taken_by_everyone_in_every_order(stack: Stack, drop_identifier: bool) -> None:
    pairs = []
    for form in (*WRITTEN, Form(key="P-256"), Form(authority="names its own serial")):
        old = root(form, NOW)
        new = reissued(old, drop_identifier=drop_identifier)
        pairs += [(leaf(old, NOW), new), (leaf(new, NOW), old), (leaf(new, NOW), new)]
    assert stack.accepts(*pairs) == [True] * len(pairs)


def test_an_expired_root_is_reissued_to_a_root_that_takes_the_leaves_of_both(stack: Stack) -> None:
    old = root(Form(dates="expired"), NOW)
    new = reissued(old)
    assert stack.accepts((leaf(old, NOW), new), (leaf(new, NOW), new)) == [True, True]


@pytest.mark.parametrize("drop_identifier", [False, True], ids=["keep", "drop"])
def test_its_rehearsal_finds_nobody_who_refuses(drop_identifier: bool) -> None:
    for form in (*WRITTEN, Form(key="P-256"), Form(dates="expired")):
        old = root(form, NOW)
        assert rehearse(old, reissued(old, drop_identifier=drop_identifier), key_of(old), NOW) == ()


def test_a_root_that_names_another_serial_as_its_issuers_is_no_root_for_openssl_alone(stack: Stack) -> None:
    """Therefore a serial of its own that it names must follow. Nobody in a mesh has OpenSSL: our rule lets it pass."""
    odd = root(Form(authority="names another serial"), NOW)
    assert stack.accepts((leaf(odd, NOW), odd)) == [stack.name != "OpenSSL"]
    assert not refusal(leaf(odd, NOW), odd)


@cache
def reissued(old: Certificate, *, drop_identifier: bool = False) -> Certificate:
    hour, years = timedelta(hours=1), timedelta(days=3650)
    return read(
        reissue(old, key_of(old), not_before=NOW - hour, not_after=NOW + years, drop_identifier=drop_identifier)
    )


def key_of(certificate: Certificate) -> str:
    return EC_KEY if certificate.key.startswith("EC") else KEY


@pytest.mark.skipif(not shutil.which("openssl"), reason="THE PAGE'S WAY IS NOT TRIED: there is no openssl here")
class TestTheRootThatOpensslMakesOfTheSameKey:
    """As the page's script: `openssl req -x509 -subj`, with other octets for the same name, and SHA-1 of the key."""

    @pytest.mark.parametrize(
        ("born", "accepting"),
        [(GO_1_24, {"OpenSSL", "BoringSSL"}), (GO_1_25, set()), (Form(identifier="none"), {"OpenSSL", "BoringSSL"})],
        ids=["Go up to 1.24", "Go 1.25", "Citadel"],
    )
    def test_it_fails_where_names_or_identifiers_are_minded(
        self, stack: Stack, born: Form, accepting: set[str], tmp_path: Path
    ) -> None:
        old, new = root(born, NOW), by_openssl(tmp_path)
        pairs = [(leaf(old, NOW), new), (leaf(new, NOW), old)]
        assert stack.accepts(*pairs) == [stack.name in accepting] * 2
        assert [not refusal(workload, trusted, stack.peer) for workload, trusted in pairs] == stack.accepts(*pairs)

    def test_it_is_reissued_as_it_stands(self, stack: Stack, tmp_path: Path) -> None:
        old = by_openssl(tmp_path)
        new = reissued(old)
        assert stack.accepts((leaf(old, NOW), new), (leaf(new, NOW), old)) == [True, True]

    def test_the_rehearsal_names_who_would_refuse(self, tmp_path: Path) -> None:
        octets = "refused by ztunnel and Go: its subject is not the issuer's name, octet by octet"
        new = by_openssl(tmp_path)
        assert rehearse(root(GO_1_24, NOW), new, KEY, new.not_before) == (
            f"a leaf of the old root under the new one: {octets}",
            f"a leaf of the new root under the old one: {octets}",
        )


def by_openssl(folder: Path, *more: str) -> Certificate:
    key, made = folder / "key.pem", folder / "root.pem"
    key.write_text(KEY)
    command = ["openssl", "req", "-x509", "-new", "-key", key, "-sha256", "-days", "3650", "-subj", "/O=cluster.local"]
    subprocess.run([*command, *more, "-out", made], check=True, capture_output=True)
    return read(made.read_text())

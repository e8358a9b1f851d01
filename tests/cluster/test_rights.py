"""A user with no rights but those that the manual prints can ask; with one less, the answer names what it lacks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cluster.rights import CERTVERIFY, EXPIRY, USER, Right, granted

if TYPE_CHECKING:
    from cluster.mesh import Mesh
    from cluster.plugins import Plugin

EXEC = (Right("get", "pods/exec"), Right("create", "pods/exec"))


@pytest.fixture(scope="module", autouse=True)
def _healthy(mesh: Mesh) -> None:
    mesh.start_afresh()


def test_the_printed_rights_of_expiry_are_enough(mesh: Mesh, expiry: Plugin) -> None:
    with granted(mesh, EXPIRY):
        theirs, everything = expiry(user=USER), expiry()
    assert (theirs.code, theirs.levels) == (0, {})
    assert theirs.verdict == everything.verdict


@pytest.mark.parametrize("missing", EXPIRY, ids=str)
def test_with_one_right_less_expiry_is_unknown_and_names_it(mesh: Mesh, expiry: Plugin, missing: Right) -> None:
    with granted(mesh, EXPIRY, missing):
        answer = expiry(user=USER)
    assert answer.code == 3
    assert f"cannot {missing}" in answer.unseen + answer.stderr


def test_public_needs_no_right_to_a_secret(mesh: Mesh, expiry: Plugin) -> None:
    with granted(mesh, tuple(right for right in EXPIRY if right.resource != "secrets")):
        answer = expiry("--public", user=USER)
    assert (answer.code, answer.levels) == (0, {})


def test_the_printed_rights_of_certverify_are_enough(mesh: Mesh, certverify: Plugin) -> None:
    with granted(mesh, CERTVERIFY):
        theirs, everything = certverify(user=USER), certverify()
    assert (theirs.code, theirs.levels) == (0, {})
    assert theirs.verdict == everything.verdict


@pytest.mark.parametrize("missing", CERTVERIFY, ids=str)
def test_with_one_right_less_certverify_is_unknown_and_names_it(mesh: Mesh, certverify: Plugin, missing: Right) -> None:
    with granted(mesh, CERTVERIFY, missing):
        answer = certverify(user=USER)
    assert answer.code == 3
    assert str(missing) in (answer.unseen + answer.stderr).replace(f".{missing.group}", "").replace(
        'resource "pods', "pods"
    )


def test_where_forwarding_is_forbidden_the_agents_are_asked(mesh: Mesh, certverify: Plugin) -> None:
    with granted(mesh, (*(right for right in CERTVERIFY if right.resource != "pods/portforward"), *EXEC)):
        theirs, everything = certverify(user=USER), certverify()
    assert (theirs.code, theirs.levels) == (0, {})
    assert theirs.verdict == everything.verdict

"""The basis of a case."""

from __future__ import annotations

import pytest

from qbdcheck.catalogue.basis import by_strength, check_basis, is_waived, policies_of, rank

READ = "MUST: NBD, NBD_CMD_READ"
ERRORS = "SHOULD: NBD, Error values"
DISCARD = "POLICY: discard-old-or-zero"
GROWN = "POLICY: grown-part-reads-zero"


def test_one_basis_or_several_are_accepted_and_the_strongest_comes_first() -> None:
    assert check_basis(READ) == (READ,)
    assert check_basis((DISCARD, ERRORS, READ)) == (READ, ERRORS, DISCARD)
    assert check_basis(()) == ()
    assert by_strength([GROWN, DISCARD, READ]) == (READ, GROWN, DISCARD)


@pytest.mark.parametrize(
    ("basis", "message"),
    [
        ("NBD, NBD_CMD_READ", "write 'MUST: <document>, <section>'"),
        ("MUST NBD, NBD_CMD_READ", "write 'MUST: <document>, <section>'"),
        ("MAY: NBD, NBD_CMD_READ", "write 'MUST: <document>, <section>'"),
        ("MUST: NDB, NBD_CMD_READ", "unknown document 'NDB'; did you mean 'NBD'?"),
        ("MUST: NBD", "names no section"),
        ("MUST: QAPI, ", "names no section"),
        ("MUST: NBD, NBD_CMD_WRIET", "no section 'NBD_CMD_WRIET'; did you mean 'NBD_CMD_WRITE'?"),
        ("POLICY: discard-zero", "unknown policy 'discard-zero'; did you mean 'discard-old-or-z"),
        ((READ, 7), "basis 7 is not a text"),
    ],
)
def test_a_wrong_basis_is_refused_with_the_right_form(basis: str, message: str) -> None:
    with pytest.raises(ValueError, match=r"basis|document|policy") as caught:
        check_basis(basis)
    assert message in str(caught.value)


def test_failures_are_ranked_by_their_strongest_basis() -> None:
    assert [rank(one) for one in ((DISCARD, READ), (ERRORS, DISCARD), (DISCARD,), ())] == [
        0,
        1,
        2,
        0,
    ]


def test_policies_alone_can_be_waived() -> None:
    waived = {"discard-old-or-zero"}
    assert policies_of((READ, DISCARD, GROWN)) == ("discard-old-or-zero", "grown-part-reads-zero")
    assert is_waived((DISCARD,), waived)
    assert not is_waived((DISCARD, GROWN), waived)
    assert not is_waived((READ, DISCARD), waived)
    assert not is_waived((ERRORS,), waived)
    assert not is_waived((), waived)
    assert not is_waived((DISCARD,), ())

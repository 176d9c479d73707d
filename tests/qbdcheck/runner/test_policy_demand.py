"""Demands that rest on a policy, and failures that a profile waives."""

from __future__ import annotations

import pytest

from oracles.damage import Damage, Operation
from oracles.finding import Finding
from qbdcheck.runner.case_run import Result
from qbdcheck.runner.policy_demand import resting_on
from qbdcheck.runner.verdict_rules import apply_waiver, judge, worse
from qbdcheck.verdict import Verdict

READ, DISCARD = "MUST: NBD, NBD_CMD_READ", "POLICY: discard-old-or-zero"
FAILED = "POLICY: failed-write-old-or-new"
WAIVED = frozenset({"discard-old-or-zero"})


def fail() -> None:
    raise AssertionError("sector 8 reads 0xff")


def test_a_failed_demand_has_its_policy_as_basis() -> None:
    with pytest.raises(AssertionError) as caught, resting_on((), print, "discard-old-or-zero"):
        raise AssertionError("sector 8 reads 0xff")
    assert judge(caught.value, "call", "").basis == (DISCARD,)


def test_a_waived_demand_is_a_note_and_the_case_continues() -> None:
    notes: list[str] = []
    with resting_on(WAIVED, notes.append, "discard-old-or-zero"):
        fail()
    assert notes == ["discard-old-or-zero: sector 8 reads 0xff"]


def test_other_errors_and_other_policies_are_not_waived() -> None:
    with pytest.raises(OSError, match="lost"), resting_on(WAIVED, print, "discard-old-or-zero"):
        raise OSError("lost")
    with pytest.raises(AssertionError), resting_on(WAIVED, print, "failed-write-old-or-new"):
        raise AssertionError("sector 8 reads 0xff")
    with pytest.raises(KeyError), resting_on(WAIVED, print, "no-such-policy"):
        pass


def test_a_failure_that_rests_on_a_waived_policy_alone_passes_with_a_note() -> None:
    failed = Result(Verdict.FAIL, "sector 8 reads 0xff", partly_not_run=("no fua",))
    waived = apply_waiver(failed, (DISCARD,), WAIVED)
    assert waived.verdict is Verdict.PASS
    assert waived.waived == ("discard-old-or-zero: sector 8 reads 0xff",)
    assert waived.partly_not_run == ("no fua",)


@pytest.mark.parametrize("basis", [(READ,), (READ, DISCARD), (DISCARD, FAILED), ()])
def test_a_must_is_never_waived(basis: tuple[str, ...]) -> None:
    failed = Result(Verdict.FAIL, "sector 8 reads 0xff")
    assert apply_waiver(failed, basis, WAIVED) is failed


def test_broken_cases_are_never_waived() -> None:
    for bad in (Result(Verdict.BROKEN, "x"), Result(Verdict.FAIL, "x", setup_failed=True)):
        assert apply_waiver(bad, (DISCARD,), WAIVED) is bad


def findings(*texts: str) -> list[Finding]:
    return [
        Finding(Damage.UNKNOWN, 4096, 512, last_writes=(Operation(7, 4096, 512, text),))
        for text in texts
    ]


def verdict_on(found: list[Finding]) -> tuple[str, ...]:
    error = AssertionError("wrong contents")
    error.__dict__["findings"] = found
    return judge(error, "call", "").basis


def test_wrong_contents_after_a_discard_rest_on_the_policy_alone() -> None:
    assert verdict_on(findings("discard", "discard")) == (DISCARD,)
    assert verdict_on(findings("discard", "write (outcome unknown)")) == (DISCARD, FAILED)
    assert verdict_on(findings("write", "discard")) == ()
    assert verdict_on([Finding(Damage.UNKNOWN, 4096, 512)]) == ()
    assert verdict_on([Finding(Damage.HANG)]) == ()


def test_a_failure_of_two_parts_has_the_basis_of_the_case() -> None:
    one = Result(Verdict.FAIL, "a", basis=(DISCARD,))
    assert worse(one, Result(Verdict.FAIL, "b")).basis == ()
    assert worse(one, Result(Verdict.PASS)).basis == (DISCARD,)


def test_basis_and_notes_reach_the_runner() -> None:
    result = Result(Verdict.PASS, basis=(DISCARD,), waived=("discard-old-or-zero: x",))
    assert Result.from_bytes(result.to_bytes()) == result

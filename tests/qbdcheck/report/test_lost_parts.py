"""Which part of its writes a failure shows to be lost."""

from __future__ import annotations

from dataclasses import replace
from types import ModuleType

import pytest

from oracles.damage import Damage, Operation
from oracles.finding import READ_WAS_WRONG, Finding
from oracles.life import Moment
from qbdcheck.report.causes import causes_of
from qbdcheck.report.events import CaseEnded
from qbdcheck.report.lost_parts import FIRST, LAST, lost_part, shared_part
from qbdcheck.verdict import Verdict

WRITE = Operation(5, 4096, 4096, "write")
OTHER = Operation(6, 16384, 8192, "write (FUA)")


def damaged(offset: int, length: int, write: Operation = WRITE) -> Finding:
    return Finding(Damage.ZEROED, offset, length, last_writes=(write,))


@pytest.mark.parametrize(
    ("findings", "part"),
    [
        ([damaged(4096, 512)], FIRST),
        ([damaged(7680, 512)], LAST),
        ([damaged(7168, 512), damaged(7680, 512)], LAST),
        ([replace(damaged(7680, 512), part=(505, 510))], LAST),  # two bytes are equal by chance
        ([damaged(7680, 512), damaged(16384, 8192, OTHER)], LAST),  # the other one fits it
        ([damaged(4096, 4096)], ""),
        ([damaged(5120, 512)], ""),
        ([damaged(4096, 512), damaged(7680, 512)], ""),
        ([damaged(4096, 512), damaged(24064, 512, OTHER)], ""),
        ([damaged(7680, 512, Operation(0, 0, 8192, "prefill"))], ""),
        ([replace(damaged(7680, 512), moved=512)], ""),
        ([replace(damaged(7680, 512), evidence=(f"read again: {READ_WAS_WRONG}",))], ""),
        ([replace(damaged(7680, 512), last_writes=())], ""),
        ([], ""),
    ],
)
def test_only_the_beginning_or_only_the_end_is_a_part(findings: list[Finding], part: str) -> None:
    assert lost_part(findings) == part


def test_failures_share_a_part_if_each_shows_it() -> None:
    end, beginning = [damaged(7680, 512)], [damaged(4096, 512)]
    assert shared_part([end, end]) == LAST
    assert shared_part([end, beginning]) == ""
    assert shared_part([]) == ""


def test_a_bug_that_loses_the_ends_of_writes_is_one_cause_whatever_was_there_before(
    runs: ModuleType,
) -> None:
    write = (Operation(5, 4000, 1000, "write"),)  # it ends at byte 392 of sector 9
    altered = Finding(Damage.ALTERED, 4608, 512, part=(389, 392), last_writes=write)
    flipped = Finding(Damage.BIT_FLIP, 4608, 512, part=(391, 392), count=1, last_writes=write)

    def fails(number: int, found: Finding) -> CaseEnded:
        made: CaseEnded = runs.ended(number, Verdict.FAIL, message=str(found), findings=(found,))
        return made

    cases = [fails(number, altered) for number in (2, 3, 4)]
    (cause,) = causes_of([*cases, fails(5, flipped)])
    title = "the last part of acknowledged writes is not there"
    assert cause.title == f"{title}: always at byte 392 of the sector"
    assert cause.cases == ("002", "003", "004", "005")
    cut = (Moment("write", 5, 4000, 1000), Moment("cut"), Moment("read", 0, 4096, 4096))
    cases = [fails(2, replace(altered, life=cut)), fails(5, replace(flipped, life=cut))]
    (cause,) = causes_of(cases)
    assert cause.title == f"{title}, after a power cut"
    inside = replace(flipped, part=(200, 201))
    first = causes_of([*cases, fails(6, inside)])[0]
    assert not first.title.startswith(title)

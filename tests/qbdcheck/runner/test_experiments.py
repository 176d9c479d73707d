"""The choice of the failures on which experiments are made."""

from oracles.damage import Damage
from oracles.finding import Finding
from oracles.recorded import Recorded
from qbdcheck.report.events import CaseEnded, Cause
from qbdcheck.runner.case_run import Result
from qbdcheck.runner.experiments import MOST, chosen
from qbdcheck.verdict import Verdict

RECORDED = Finding(Damage.ZEROED, 0, 512, record=Recorded(4096, ()))


def ended(number: int, *findings: Finding, verdict: Verdict = Verdict.FAIL) -> CaseEnded:
    return CaseEnded(
        f"{number:03d}_x", number, "", (), "raw", verdict, 1.0, findings=tuple(findings)
    )


def cause(*numbers: str) -> Cause:
    return Cause("pattern", "", numbers, len(numbers), 0.5, numbers[0], "")


def test_the_first_failure_with_recorded_requests_is_chosen() -> None:
    cases = [ended(1), ended(2, RECORDED), ended(3, RECORDED)]
    assert [one.number for one in chosen([cause("001", "002", "003")], cases)] == [2]


def test_a_cause_without_records_has_its_first_failure() -> None:
    assert [one.number for one in chosen([cause("001", "002")], [ended(2), ended(1)])] == [1]


def test_each_failure_is_chosen_once_and_broken_cases_never() -> None:
    cases = [ended(1, RECORDED), ended(2, verdict=Verdict.BROKEN)]
    assert len(chosen([cause("001"), cause("001"), cause("002")], cases)) == 1


def test_there_is_a_limit() -> None:
    numbers = [f"{number:03d}" for number in range(1, 9)]
    cases = [ended(int(number), RECORDED) for number in numbers]
    assert len(chosen([cause(number) for number in numbers], cases)) == MOST


def test_a_record_comes_with_its_finding_through_the_pipe() -> None:
    result = Result(Verdict.FAIL, findings=(Finding(Damage.TORN), RECORDED))
    found = Result.from_bytes(result.to_bytes())
    assert found is not None
    assert [one.record for one in found.findings] == [None, RECORDED.record]
    assert "record" not in RECORDED.to_json()

"""What cases count is in their results; one case does not count for another."""

from __future__ import annotations

from qbdcheck.runner import measures
from qbdcheck.runner.case_run import Result
from qbdcheck.verdict import Verdict


def test_counts_add_up_and_pass_through_the_pipe_of_a_case() -> None:
    before = measures.counted().get("test", 0)
    measures.count("test", 3)
    measures.count("test", 4)
    measures.count("nothing", 0)
    assert measures.counted()["test"] - before == 7
    assert "nothing" not in measures.counted()
    result = Result(Verdict.PASS, measures={"test": 7})
    assert Result.from_bytes(result.to_bytes()) == result

"""Verdicts and times over runs."""

from __future__ import annotations

from collections.abc import Callable

from qbdcheck.saved.runs import SavedRun
from qbdcheck.saved.trend import sparkline, trends
from qbdcheck.verdict import Verdict

Made = Callable[..., SavedRun]


def test_a_case_has_a_letter_for_each_run(saved: Made) -> None:
    runs = [
        saved((1,), (2, Verdict.NOT_RUN)),
        saved((1, Verdict.FAIL)),
        saved((1, Verdict.KNOWN), (2,)),
        saved((2, Verdict.BROKEN), (1,), (1, Verdict.FAIL)),
    ]
    first, second = trends(runs)
    assert (first.case_id, first.letters, first.has_failed) == ("001_it", ".FkF", True)
    assert (second.case_id, second.letters) == ("002_it", "- .B")
    assert second.times_s == [None, None, 1.0, 1.0]
    assert not trends(runs[:1])[0].has_failed


def test_a_sparkline_starts_at_zero_and_has_gaps() -> None:
    assert sparkline([0.0, 7.0, None, 3.0, 7.0]) == "▁█ ▄█"
    assert sparkline([None, 0.0]) == " ▁"
    assert sparkline([]) == ""

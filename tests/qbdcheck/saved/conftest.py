"""Saved runs of made-up cases."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from qbdcheck.report.events import CaseEnded, RunEnded, RunStarted
from qbdcheck.report.tally import Tally
from qbdcheck.saved.runs import SavedRun
from qbdcheck.verdict import Verdict

Made = Callable[..., SavedRun]


def case(number: int, verdict: Verdict = Verdict.PASS, **fields: object) -> CaseEnded:
    base = CaseEnded(
        case_id=f"{number:03d}_it", number=number, sentence="it holds", groups=("quick",),
        image_format="raw", verdict=verdict, elapsed_s=1.0,
    )  # fmt: skip
    return replace(base, **fields)  # type: ignore[arg-type]


@pytest.fixture
def saved() -> Made:
    """Return the function that makes a saved run of (number, verdict, fields) or (number,)."""

    def make(
        *cases: tuple[object, ...], run_id: str = "one", interrupted: bool = False
    ) -> SavedRun:
        tally = Tally()
        tally.handle(RunStarted(run_id, 7, "mine", ("raw",), len(cases), 1, 1_700_000_000.0))
        for number, *rest in cases:
            verdict = rest[0] if rest else Verdict.PASS
            fields = rest[1] if len(rest) > 1 else {}
            tally.handle(case(number, verdict, **fields))  # type: ignore[arg-type]
        tally.handle(RunEnded(1.0, tally.counts, 0, interrupted=interrupted))
        return SavedRun(run_id, tally)

    return make

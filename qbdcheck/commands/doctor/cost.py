"""Which cases need which program: from what they declare and from the fixtures that they name."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from qbdcheck.catalogue.case import CaseInfo
from qbdcheck.runner.preflight import programs_of


def cases_by_program(cases: Iterable[CaseInfo]) -> dict[str, list[CaseInfo]]:
    """For each program the cases that do not run without it."""
    needing: dict[str, list[CaseInfo]] = defaultdict(list)
    for one in cases:
        for program in programs_of(one):
            needing[program].append(one)
    return dict(needing)


def number_ranges(numbers: Iterable[int]) -> str:
    """``001-004 017``: numbers in order, runs of three and more as ranges."""
    runs: list[list[int]] = []
    for number in sorted(set(numbers)):
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    words: list[str] = []
    for run in runs:
        if len(run) > 2:
            words.append(f"{run[0]:03d}-{run[-1]:03d}")
        else:
            words += [f"{number:03d}" for number in run]
    return " ".join(words)

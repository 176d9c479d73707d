"""Find the cases that need a program, from their declarations and fixtures."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from qbdcheck.catalogue.case import CaseInfo
from qbdcheck.runner.preflight import programs_of


def cases_by_program(cases: Iterable[CaseInfo]) -> dict[str, list[CaseInfo]]:
    """Return for each program the cases that need it."""
    needing: dict[str, list[CaseInfo]] = defaultdict(list)
    for one in cases:
        for program in programs_of(one):
            needing[program].append(one)
    return dict(needing)


def number_ranges(numbers: Iterable[int]) -> str:
    """Return sorted numbers as text, ``001-004 017``; three or more in a row become a range."""
    runs: list[list[int]] = []
    for number in sorted(set(numbers)):
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    parts: list[str] = []
    for run in runs:
        if len(run) > 2:
            parts.append(f"{run[0]:03d}-{run[-1]:03d}")
        else:
            parts += [f"{number:03d}" for number in run]
    return " ".join(parts)

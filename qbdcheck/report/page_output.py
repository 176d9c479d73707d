"""How an output differs from the golden one, as a sentence: which line, and which words of it."""

from __future__ import annotations

import re
from itertools import groupby
from pathlib import Path

from qbdcheck.files import ROOT
from qbdcheck.report.events import CaseEnded
from qbdcheck.report.page_details import split_details

_MISSING, _SURPLUS = " is missing", " is not expected"
_LONG = 80
"""Characters of a comparison that is narrowed to the words that differ."""
_COLUMN = " column"
"""In the words of a difference in a table, which are short already."""
_WORDS = 4
"""Words that differ are shown up to this number."""
_DIFF = re.compile(r"^--- (\S.*)\n\+\+\+ ", re.MULTILINE)


def output_difference(case: CaseEnded, line: str, how: str) -> str:
    """Return how an output differs from the expected one.

    :param line: the number of the first line that differs.
    :param how: the rest of the line that `qbdcheck.report.cause` makes of the difference.
    """
    how = _narrow(how, case.details)
    if how.startswith(_MISSING):
        return f"the output lacks line {line} of {_golden(case)}{how.removeprefix(_MISSING)}"
    if how.startswith(_SURPLUS):
        return f"line {line} of the output is not in {_golden(case)}{how.removeprefix(_SURPLUS)}"
    return f"line {line} of the output differs from {_golden(case)}{how}"


def _narrow(words: str, details: str) -> str:
    """Return what differs between two long lines of a diff, without what their ends have in common.

    :param words: what is said of short lines, and of lines without a partner.
    """
    diff = split_details(details).diff
    lines = [
        next((line.text[1:].split() for line in diff if line.kind == kind), [])
        for kind in ("gone", "added")
    ]
    one, two = lines
    if len(words) <= _LONG or _COLUMN in words or not one or not two or ": expected" not in words:
        return words
    shorter = min(len(one), len(two))
    head = next((at for at in range(shorter) if one[at] != two[at]), shorter)
    behind = (at for at in range(shorter - head) if one[-1 - at] != two[-1 - at])
    tail = next(behind, shorter - head)

    def part(line: list[str]) -> str:
        middle = [word for word, _ in groupby(line[head : len(line) - tail])]
        shown = ["..." * (head > 0), *middle[:_WORDS], "..." * (tail > 0 or len(middle) > _WORDS)]
        return " ".join(filter(None, shown))

    where = f" (from word {head + 1} on)" if head else ""
    return f"{where}: expected {part(one)!r}, got {part(two)!r}"


def _golden(case: CaseEnded) -> str:
    """Return the expected output that a case was compared with, and whether it is the shipped one.

    The path is that of the machine where the case ran, below the project that has the case.
    """
    found = _DIFF.search(case.details)
    if found is None:
        return "the expected output"
    path = Path(found[1])
    projects = [ROOT, *Path(case.path).parents[2:3]]
    project = next((one for one in projects if path.is_relative_to(one / "golden")), None)
    if project is not None or not path.is_absolute():
        shown = path if project is None else path.relative_to(project)
        return f"the expected output {shown}"
    return f"the expected output {path}, which is not the one that is shipped,"

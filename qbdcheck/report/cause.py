"""Find the one line that says why a case failed.

A failure has hundreds of lines; the list of cases has room for one. The findings of oracles come
first. Other failures have only text. The line is then, in this order of preference, the death of a
program, a time-out, the first difference of the output, or the Python error.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import takewhile

from oracles.damage import Damage
from oracles.finding import Finding
from qbdcheck.report.events import CaseEnded
from qbdcheck.report.table_difference import table_difference

_DIED = re.compile(r"^.*\b(?:died|killed|crashed)\b.*\b(?:SIG[A-Z0-9]+|signal)\b.*$", re.MULTILINE)
_TIME_OUT = re.compile(
    r"^.*(?:timed? ?-?out|time limit|no answer within|not finished (?:after|within)).*$",
    re.IGNORECASE | re.MULTILINE,
)
_HUNK = re.compile(r"^@@ -(?P<line>\d+)(?:,\d+)? \+\d+(?:,\d+)? @@", re.MULTILINE)
_PYTHON_ERROR = re.compile(
    r"^(?:E\s+)?((?:\w+\.)*\w*(?:Error|Failed|Exception|Broken)\b:? ?.*)$", re.MULTILINE
)
_FRAME = re.compile(r"^\s*(?:File \"|>|E\s{3,}|Traceback|---|\+\+\+|@@)")


SERVER_DIED = "server died: "
"""Begins the remark of the finding that a server died."""
STATUS_REQUEST = "block status"
"""The request of the finding that a block status claims zeroes where there is data."""
_MISPLACED = (Damage.MISDIRECTED, Damage.SWAPPED, Damage.SHIFTED, Damage.FOREIGN)
"""Data in a wrong place also explains what is missing elsewhere."""


def main_finding(findings: Sequence[Finding]) -> Finding | None:
    """Return the finding that explains most; None if there is none.

    The death of the server comes first: lost connections and data follow from it. Then contents
    come before order, and order before answers. Among the contents, data in a wrong place
    comes first, and data that no known kind of damage fits comes last. A lost write comes before
    lost prefill, as far as its life is known. All reports use this order.
    """
    return _lying_status(findings) or min(findings, key=_explains_less, default=None)


def _lying_status(findings: Sequence[Finding]) -> Finding | None:
    """Return the block status that claims zeroes where data was then found zeroed.

    What follows block status, such as a copy, loses the data; the volume itself still has it.
    """
    zeroed = [one for one in findings if one.damage is Damage.ZEROED]
    for one in findings:
        is_status = one.damage is Damage.STATUS and one.request == STATUS_REQUEST
        if is_status and any(
            one.offset < other.offset + other.length and other.offset < one.offset + one.length
            for other in zeroed
        ):
            return one
    return None


def is_judged(finding: Finding) -> bool:
    """Return whether the finding says more than the text of the failure."""
    return finding.damage.rank < Damage.HANG.rank or finding.remark.startswith(SERVER_DIED)


def _explains_less(finding: Finding) -> tuple[bool, int, bool, bool, bool, bool]:
    damage = finding.damage
    is_lesser = not finding.remark.startswith(SERVER_DIED)
    follows = bool(finding.follows)
    is_unknown = damage is Damage.UNKNOWN
    names_no_write = finding.owes_prefill or not finding.life
    return is_lesser, damage.rank, follows, damage not in _MISPLACED, is_unknown, names_no_write


def cause_of_case(case: CaseEnded) -> str:
    """Return the cause of a case's failure in one line; "" if nothing is known."""
    return cause_of(case.message, case.details, case.findings)


def cause_of(message: str, details: str, findings: Sequence[Finding] = ()) -> str:
    """Return the cause in one line, from the findings and the text of a failure; "" if unknown.

    `details` contains source code, which can match any pattern. Therefore the message is searched
    first, then the lines of the error itself, which pytest marks with E.
    """
    main = main_finding(findings)
    if main is not None and is_judged(main):
        return _one_line(main.line)
    error = "\n".join(line for line in details.splitlines() if line.startswith("E "))
    first, _, rest = message.strip().partition("\n")
    if first.endswith(":"):  # the line after a heading is more specific
        rest = rest or error.partition(first)[2]
        first = f"{first} {next(filter(None, map(_unquoted, rest.splitlines())), '')}"
    return _one_line(
        _telling_line(f"{message}\n{error}")
        or _first_difference(details)
        or first
        or _telling_line(details)
        or "".join(_PYTHON_ERROR.findall(details)[-1:])
        or next(filter(_says_something, details.splitlines()), "")
    )


def _telling_line(text: str) -> str:
    """Return the first line of `text` that names a death or a time-out; "" without one."""
    for pattern in (_DIED, _TIME_OUT):
        if found := pattern.search(text):
            return found.group(0)
    return ""


def _first_difference(details: str) -> str:
    """Return ``output line 3: expected 'a', got 'b'`` from the first hunk of a unified diff.

    "" where there is no diff.
    """
    hunk = _HUNK.search(details)
    if hunk is None:
        return ""
    number = int(hunk["line"])
    expected = got = None
    lines = details[hunk.end() :].splitlines()[1:]
    for line in lines:
        if line.startswith("-") and expected is None and got is None:
            expected = line[1:]
        elif line.startswith("-") and got is None:
            continue  # the lines of a hunk that are missing come before those that are new
        elif line.startswith("+") and got is None:
            got = line[1:]
        elif expected is not None or got is not None:
            break
        else:
            number += 1
    if expected is None and got is None:
        return ""
    if got is None:
        return f"output line {number} is missing: {expected!r}"
    if expected is None:
        return f"output line {number} is not expected: {got!r}"
    if table := table_difference(_diff_of(lines)):
        return f"output line {number}: {table}"
    return f"output line {number}: expected {expected!r}, got {got!r}"


def _diff_of(lines: Sequence[str]) -> list[str]:
    """Return the lines that belong to a diff: up to the first line of other text."""
    return list(takewhile(lambda line: line[:1] in (" ", "-", "+", "@"), lines))


def _says_something(line: str) -> bool:
    return bool(line.strip()) and not _FRAME.match(line)


def _unquoted(line: str) -> str:
    """Return a line without pytest's margin."""
    return line.removeprefix("E ").strip()


def _one_line(text: str) -> str:
    """Return `text` without pytest's margin and control characters, at most 200 characters."""
    text = re.sub(r"^(?:E\s+|>\s+)", "", text.strip())
    text = re.sub(r"[\x00-\x1f\x7f]+", " ", re.sub(r"\s+", " ", text)).strip()
    return text if len(text) <= 200 else text[:197] + "..."

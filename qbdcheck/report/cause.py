"""The one line that says why a case failed, found in everything that it left behind.

A failure has hundreds of lines; the list of cases has room for one. The order of the rules is the
order of what helps a developer most: what the disk holds, then what died, then what took too long,
then where the output differs, then what Python said.
"""

from __future__ import annotations

import re

_SECTOR = re.compile(
    r"^.*\b(?:sectors?|offset)\b.*\b(?:lost|stale|misdirected|torn|zeroed|foreign|flip"
    r"|never written|not a stamp|expected)\b.*$",
    re.IGNORECASE | re.MULTILINE,
)
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


def cause_of(message: str, details: str) -> str:
    """The cause in one line, from a failure's first line and all of its text; "" without any."""
    whole = f"{message}\n{details}"
    for pattern in (_SECTOR, _DIED, _TIME_OUT):
        if found := pattern.search(whole):
            return _one_line(found.group(0))
    if from_diff := _first_difference(details):
        return from_diff
    if message.strip():
        return _one_line(message.strip().splitlines()[0])
    if errors := _PYTHON_ERROR.findall(details):
        return _one_line(errors[-1])
    return next((_one_line(line) for line in details.splitlines() if _says_something(line)), "")


def _first_difference(details: str) -> str:
    """``output line 3: expected 'a', got 'b'`` from the first hunk of a unified diff, or ""."""
    hunk = _HUNK.search(details)
    if hunk is None:
        return ""
    number = int(hunk["line"])
    expected = got = None
    for line in details[hunk.end() :].splitlines()[1:]:
        if line.startswith("-") and expected is None and got is None:
            expected = line[1:]
        elif line.startswith("+") and got is None:
            got = line[1:]
        elif expected is not None or got is not None:
            break
        else:
            number += 1
    if expected is None and got is None:
        return ""
    if got is None:
        return _one_line(f"output line {number} is missing: {expected!r}")
    if expected is None:
        return _one_line(f"output line {number} is not expected: {got!r}")
    return _one_line(f"output line {number}: expected {expected!r}, got {got!r}")


def _says_something(line: str) -> bool:
    return bool(line.strip()) and not _FRAME.match(line)


def _one_line(text: str) -> str:
    """`text` without pytest's margin and control characters, at most 200 characters."""
    text = re.sub(r"^(?:E\s+|>\s+)", "", text.strip())
    text = re.sub(r"[\x00-\x1f\x7f]+", " ", re.sub(r"\s+", " ", text)).strip()
    return text if len(text) <= 200 else text[:197] + "..."

"""In which phase failures happened: after the server's end, or with requests in flight together.

The groups of a case do not say that of a failure: only the life of a place or its message does.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from oracles.damage import Damage
from oracles.life import IN_FLIGHT, KILLED, NOT_JUDGED
from qbdcheck.report.events import CaseEnded

_AFTER_AN_END = "after a crash or a restart"
KNOWN_STATES = ("after a power cut", _AFTER_AN_END)
"""Of a case, and of each of its failures: requests in flight need not concern the damage."""
_SERVER_ENDS = ("cut", "restart")
"""Moments in the life of a place at which the server ended."""
_ENDED_BEFORE = re.compile(
    r"\bpower (?:was )?cut\b|\b(?:the|a) cut\b|\bkill(?:ed)?\b|\bSIGKILL\b|\bcrash"
    r"|\brestart|\bstarted again\b"
)
"""Words of messages about a server that had ended before."""
_IN_FLIGHT = "with requests in flight"
_TOGETHER = re.compile(r"\bin flight\b|\bat the same time\b|\btogether\b|\bclient \d")
"""Words of messages about requests in flight together."""


def with_its_end(title: str, cases: Sequence[CaseEnded]) -> str:
    """Return the title with the way in which the server ended before the damage, or without it."""
    if not all(map(has_an_end, cases)):
        for state in KNOWN_STATES:
            title = title.replace(f", {state}", "").replace(f" lost {state}", " lost")
    if not all(map(_has_requests_in_flight, cases)):
        title = title.replace(f", {_IN_FLIGHT}", "").replace(f" {_IN_FLIGHT}", "")
    ended = ended_by(cases)
    return title if ended is None else title.replace(_AFTER_AN_END, ended)


def has_an_end(case: CaseEnded) -> bool:
    """Return whether a server ended before the damage, as the life of a place or the text says."""
    lives = [one.life for one in case.findings if one.life]
    if any(one.kind in _SERVER_ENDS for life in lives for one in life):
        return True
    return not lives and _ENDED_BEFORE.search(case.message) is not None


def _has_requests_in_flight(case: CaseEnded) -> bool:
    """Return whether the life of a place or the text says that requests were in flight together."""
    lives = [one.life for one in case.findings if one.life]
    texts = [one.text for life in lives for one in life]
    if any(text == NOT_JUDGED or text.endswith(IN_FLIGHT) for text in texts):
        return True
    kinds = {one.damage for one in case.findings}
    return Damage.NOT_LINEARIZABLE in kinds or _TOGETHER.search(case.message) is not None


def ended_by(cases: Sequence[CaseEnded]) -> str | None:
    """Return how the server ended before the damage was seen; None if not known, or not one way."""
    ways = {
        "after a stop and a start" if last.kind == "restart"
        else "after SIGKILL" if last.text == KILLED else "after a power cut"
        for case in cases for one in case.findings if one.life
        for last in [moment for moment in one.life if moment.kind in _SERVER_ENDS][-1:]
    }  # fmt: skip
    return ways.pop() if len(ways) == 1 else None

"""The causes of a run's failures: failures grouped by the kind of damage, or by their text.

Texts that differ only in numbers are equal; the group shows the first of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from oracles.finding import Finding
from qbdcheck.report.cause import cause_of_case
from qbdcheck.report.cause import main_finding as first_of
from qbdcheck.report.events import CaseEnded
from qbdcheck.report.page_damage import colour, meaning_of
from qbdcheck.report.page_words import named
from qbdcheck.verdict import Verdict

_NUMBER = re.compile(r"\b(?:0x[0-9a-f]+|\d+)\b")
_STARVED = "a time limit was exceeded while others used the machine: nothing is known"
_OUTPUT = re.compile(r"^output line \d+")


@dataclass(frozen=True)
class Cause:
    """A group of failures: its name, what it means, its colour, its cases, and its share in %."""

    name: str
    meaning: str
    colour: str
    cases: tuple[CaseEnded, ...]
    share: int


def causes(cases: Sequence[CaseEnded]) -> list[Cause]:
    """Return the groups of the failed cases, the largest first."""
    bad = [case for case in cases if case.verdict.is_bad]
    groups: dict[str, list[CaseEnded]] = {}
    for case in bad:
        groups.setdefault(_NUMBER.sub("N", " ".join(_kind(case))), []).append(case)
    found = [
        Cause(*_kind(group[0]), tuple(group), round(100 * len(group) / len(bad)))
        for group in groups.values()
    ]
    return sorted(found, key=lambda one: -len(one.cases))


def main_finding(case: CaseEnded) -> Finding | None:
    """Return the finding that explains most; None if there is none."""
    return first_of(named(case.findings))


def _kind(case: CaseEnded) -> tuple[str, str, str]:
    """Return name, meaning and colour of the group that a failed case belongs to."""
    finding = main_finding(case)
    if finding is not None:
        return finding.damage.value, meaning_of(finding), colour(finding.damage)
    if case.starved is not None:
        return "starved", _STARVED, "k-broken"
    cause = cause_of_case(case)
    if _OUTPUT.match(cause):
        return "output differs", "the output is not that of the golden file", "k-text"
    if case.verdict is Verdict.BROKEN:
        return "broken", cause, "k-broken"
    return "other failures", cause, "k-text"


def reasons_not_run(cases: Iterable[CaseEnded]) -> list[tuple[str, list[CaseEnded]]]:
    """Return the reasons why cases were not run, with the cases, the most frequent first."""
    groups: dict[str, list[CaseEnded]] = {}
    for case in cases:
        if case.verdict is Verdict.NOT_RUN:
            for reason in case.reasons or ("no reason was given",):
                groups.setdefault(reason, []).append(case)
    return sorted(groups.items(), key=lambda item: -len(item[1]))

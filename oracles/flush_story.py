"""Which flush did not keep a change over a power cut, and what became of its other changes.

A server that loses some changes of a flush, or all changes of some flushes, shows by this which.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from oracles.damage import Operation
from oracles.finding import Finding
from oracles.life import CHANGES, Moment

_ENDS = ("cut", "restart")
_KEPT = re.compile(r"\bit covered \d+ changes: .* damaged \(.*\), (\d+) (?:is|are) there whole")
_ALL_LOST = re.compile(r"\bit covered (\d+) changes?: \d+ (?:is|are) damaged, so all of them")
_OWN = {"zero": "this write zeroes", "discard": "this discard", "prefill": "the prefill"}
_ORDINALS = {1: "first", 2: "second", 3: "third"}


def with_flush(findings: Sequence[Finding], moments: Sequence[Moment]) -> list[Finding]:
    """Return findings; the first one tells of the flush that did not keep its change, if any.

    :param moments: all of the volume, in order. The last cut is the one that took the change away.
    """
    first = next(iter(findings), None)
    culprit = first.culprit if first is not None else None
    if first is None or culprit is None or culprit.lost is None:
        return list(findings)
    lost, flush = first.life[culprit.lost], first.life[culprit.place]
    at = next((n for n, one in enumerate(moments) if one is flush), None)
    if flush.kind != "flush" or at is None:
        return list(findings)
    start = max((n for n, one in enumerate(moments[:at]) if one.kind in _ENDS), default=-1)
    flushes = [n for n in range(start + 1, at + 1) if moments[n].kind == "flush"]
    before = flushes[-2] if len(flushes) > 1 else start
    covered = [one for one in moments[before + 1 : at] if _is_change(one)]
    if not any(one is lost for one in covered):  # an earlier flush covered it as well
        return list(findings)
    total = sum(one.kind == "flush" for one in moments[: at + 1])
    lines = [_which(moments, start, len(flushes), total), *_counted(covered, findings, lost)]
    told = replace(first, evidence=(*first.evidence, "; ".join(lines)))
    return [told, *findings[1:]]


def kept_by_flush(finding: Finding) -> str:
    """Return what a flush that did not keep a change did, as far as the check after the cut shows.

    :return: the rest of a sentence whose subject is the flush.
    """
    culprit = finding.culprit
    lost = "this write"
    if culprit is not None and culprit.lost is not None:
        lost = _OWN.get(finding.life[culprit.lost].kind, lost)
    told = f"did not make {lost} durable"
    for line in finding.evidence:
        if (kept := _KEPT.search(line)) is not None:
            count = int(kept[1])
            return f"{told}; {count} other change{'s' if count > 1 else ''} before it survived"
        if (gone := _ALL_LOST.search(line)) is not None and int(gone[1]) > 1:
            return f"{told}, nor any of the {gone[1]} changes since the flush before"
    return told


def _is_change(one: Moment) -> bool:
    return one.kind in CHANGES and one.kind != "prefill" and one.is_certain


def _which(moments: Sequence[Moment], start: int, count: int, total: int) -> str:
    """Return which one the flush was since the server began to serve the volume, and of all."""
    since = "since the volume was made"
    if start >= 0:
        cut = moments[start]
        how = "the power cut" if cut.kind == "cut" else "the restart of the server"
        since = f"since {how}" + (f" at {cut.at_s:.3f} s" if cut.at_s is not None else "")
    name = _ORDINALS.get(count, f"{count}th")
    all_of_them = f", number {total} of all" if start >= 0 else ""
    return f"the flush that did not keep it was the {name} one {since}{all_of_them}"


def _counted(covered: Sequence[Moment], findings: Sequence[Finding], culprit: Moment) -> list[str]:
    """Return how many changes the flush covered, and what is known of the others.

    :param culprit: the change that is lost; the last one to a damaged place may be a later one.
    """
    gone = {one.last_writes[0].number for one in findings if one.last_writes} | {culprit.number}
    right: dict[int, Operation] = {one.number: one for one in findings[0].right_writes}
    lost = [one for one in covered if one.number in gone]
    kept = [one for one in covered if one.number in right and one.number not in gone]
    total = len(covered)
    told = f"it covered {total} change{'s' if total > 1 else ''}: {len(lost)}"
    if lost == covered:
        return [f"{told} {'are' if total > 1 else 'is'} damaged, so all of them"]
    one = covered[-1]
    last = f"; the last before it was #{one.number}, {one.length} bytes at {one.offset}"
    if kept and max(one.number for one in lost) < min(one.number for one in kept):
        last = f", and all of these came after the damaged ones{last}"
    elif kept and max(one.number for one in kept) < min(one.number for one in lost):
        last = f", and all of these came before the damaged ones{last}"
    numbers = ", ".join(f"#{one.number}" for one in lost[:4]) + (", ..." if len(lost) > 4 else "")
    sound = f", {len(kept)} {'are' if len(kept) != 1 else 'is'} there whole" if kept else ""
    return [f"{told} damaged ({numbers}){sound}{last}"]

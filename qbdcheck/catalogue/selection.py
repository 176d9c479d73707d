"""Turns numbers, ranges, names and groups into the list of cases to run. Pure.

The algorithm is that of qemu-iotests: cases of the wanted groups, minus those of the unwanted ones,
plus those that were named. A case that is named one by one is never excluded; a range is a bulk
choice, to which exclusions apply. Cases of the group ``disabled`` run only when they, or that
group, are named.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from qbdcheck.catalogue.case import CaseInfo
from qbdcheck.catalogue.groups import DISABLED, QUICK, check_groups
from qbdcheck.errors import UsageError

_RANGE = re.compile(r"(?P<first>\d*)-(?P<last>\d*)\Z")
_NUMBER_LIMIT = 999


@dataclass(frozen=True)
class Request:
    """What the user asked for. ``exclusions`` maps what -e and -X name to their reasons."""

    words: Sequence[str] = ()
    groups: Sequence[str] = ()
    exclude_groups: Sequence[str] = ()
    exclusions: Mapping[str, str] = field(default_factory=dict)
    start_from: str | None = None


@dataclass(frozen=True)
class Selected:
    """The cases to run, and those that -e or -X took out, with the reason; both by number."""

    cases: list[CaseInfo]
    excluded: list[tuple[CaseInfo, str]]


def select(
    catalogue: Sequence[CaseInfo], request: Request, known_groups: Iterable[str]
) -> Selected:
    """The cases of `catalogue` that `request` asks for.

    :raise UsageError: an unknown number, name or group; the message lists the nearest known.
    """
    known = list(known_groups)
    check_groups([*request.groups, *request.exclude_groups], known)
    groups = list(request.groups)
    if not groups and not request.words:
        groups = [QUICK]
    named: set[str] = set()
    bulk = {case.case_id for case in catalogue if set(groups) & set(case.spec.groups)}
    for word in request.words:
        found = [case.case_id for case in find(catalogue, word)]
        (bulk if _is_range(word) else named).update(found)
    unwanted = set(request.exclude_groups)
    if DISABLED not in request.groups:
        unwanted.add(DISABLED)
    bulk = {
        case.case_id
        for case in catalogue
        if case.case_id in bulk and not unwanted & set(case.spec.groups)
    }
    reasons: dict[str, str] = {}
    for word, reason in request.exclusions.items():
        for case in find(catalogue, word):
            reasons.setdefault(case.case_id, reason)
    chosen = [case for case in catalogue if case.case_id in bulk | named]
    if request.start_from is not None:
        first = find(catalogue, request.start_from)[0].number
        chosen = [case for case in chosen if case.number >= first]
    out = [
        (case, reasons[case.case_id])
        for case in chosen
        if case.case_id in reasons and case.case_id not in named
    ]
    gone = {case.case_id for case, _ in out}
    return Selected([case for case in chosen if case.case_id not in gone], out)


def find(catalogue: Sequence[CaseInfo], word: str) -> list[CaseInfo]:
    """The cases that one word means: ``17``, ``001-100``, ``12-``, ``-5``, a name.

    A name is the stem of the file, its path, or the stem without the number.

    :raise UsageError: it means none.
    """
    if _is_range(word):
        return _find_range(catalogue, word)
    if word.isascii() and word.isdigit():
        found = [case for case in catalogue if case.number == int(word)]
        if not found:
            raise UsageError(f"no case {int(word):03}; nearest: {_nearest(catalogue, int(word))}")
        return found
    stem = word.rsplit("/", 1)[-1].removesuffix(".py")
    found = [case for case in catalogue if stem in (case.case_id, case.case_id[4:])]
    if not found:
        names = [case.case_id for case in catalogue]
        near = difflib.get_close_matches(
            stem, [*names, *(name[4:] for name in names)], n=3, cutoff=0.5
        )
        raise UsageError(
            f"no case named {word!r}; "
            + (f"nearest: {', '.join(near)}" if near else "-l lists all")
        )
    return found


def _is_range(word: str) -> bool:
    found = _RANGE.match(word)
    return found is not None and bool(found["first"] or found["last"])


def _find_range(catalogue: Sequence[CaseInfo], word: str) -> list[CaseInfo]:
    found = _RANGE.match(word)
    assert found is not None
    first, last = int(found["first"] or 0), int(found["last"] or _NUMBER_LIMIT)
    if first > last:
        raise UsageError(f"range {word} ends before it begins; write {last:03}-{first:03}")
    cases = [case for case in catalogue if first <= case.number <= last]
    if not cases:
        raise UsageError(f"no case in {word}; nearest: {_nearest(catalogue, first)}")
    return cases


def _nearest(catalogue: Sequence[CaseInfo], number: int) -> str:
    near = sorted(catalogue, key=lambda case: (abs(case.number - number), case.number))[:3]
    return (
        ", ".join(f"{case.number:03}" for case in sorted(near, key=lambda case: case.number))
        or "there are no cases"
    )


def parse_exclusions(text: str, source: str) -> dict[str, str]:
    """An exclude file: one case or range a line, then a reason; ``#`` begins a comment line.

    :return: words of `find` with their reasons, "excluded by SOURCE" where none is given.
    """
    exclusions: dict[str, str] = {}
    for line in text.splitlines():
        word, _, reason = line.strip().partition(" ")
        if word and not word.startswith("#"):
            exclusions[word] = _reason(reason.strip().lstrip("#").strip(), source)
    return exclusions


def parse_exclusion_list(entries: Iterable[str], source: str = "-e") -> dict[str, str]:
    """Entries of ``-e``: ``017``, ``001-010``, or ``017=why``."""
    exclusions: dict[str, str] = {}
    for entry in entries:
        word, _, reason = entry.partition("=")
        if word.strip():
            exclusions[word.strip()] = _reason(reason.strip(), source)
    return exclusions


def _reason(reason: str, source: str) -> str:
    return f"excluded by {source}: {reason}" if reason else f"excluded by {source}"

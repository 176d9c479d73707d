"""Select cases by numbers, ranges, names and groups. Pure.

The algorithm is that of qemu-iotests: the cases of the selected groups, minus those of the excluded
groups, plus those that are named. Exclusions apply to ranges, but never to a case that is named
individually. Cases of the group ``disabled`` run only if they, or that group, are named.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from qbdcheck.catalogue.case import CaseInfo
from qbdcheck.catalogue.groups import DISABLED, QUICK, check_groups
from qbdcheck.command_help import COMMANDS
from qbdcheck.errors import UsageError
from qbdcheck.suggestions import suggestions

_RANGE = re.compile(r"(?P<first>\d*)-(?P<last>\d*)\Z")
_NUMBER_LIMIT = 9999
_SHOWN = 3


@dataclass(frozen=True)
class Request:
    """The selection that the user requested.

    :ivar arguments: numbers, ranges and names.
    :ivar exclusions: the entries of -e and -X, with their reasons.
    :ivar everything: select all cases, the group ``disabled`` included.
    """

    arguments: Sequence[str] = ()
    groups: Sequence[str] = ()
    exclude_groups: Sequence[str] = ()
    exclusions: Mapping[str, str] = field(default_factory=dict)
    start_from: str | None = None
    everything: bool = False


@dataclass(frozen=True)
class Selected:
    """The cases to run, and the excluded cases with their reasons; both sorted by number."""

    cases: list[CaseInfo]
    excluded: list[tuple[CaseInfo, str]]


def select(
    catalogue: Sequence[CaseInfo], request: Request, known_groups: Iterable[str]
) -> Selected:
    """Return the cases of `catalogue` that `request` asks for.

    :raise UsageError: a number, name or group is unknown; the message lists the nearest known.
    """
    known = list(known_groups)
    check_groups([*request.groups, *request.exclude_groups], known)
    groups = list(request.groups)
    if not groups and not request.arguments:
        groups = [QUICK]
    named: set[str] = set()
    bulk = {
        case.case_id
        for case in catalogue
        if request.everything or set(groups) & set(case.spec.groups)
    }
    for argument in request.arguments:
        found = [case.case_id for case in find(catalogue, argument)]
        (bulk if _is_range(argument) else named).update(found)
    unwanted = set(request.exclude_groups)
    if DISABLED not in request.groups and not request.everything:
        unwanted.add(DISABLED)
    bulk = {
        case.case_id
        for case in catalogue
        if case.case_id in bulk and not unwanted & set(case.spec.groups)
    }
    reasons = expand_exclusions(catalogue, request.exclusions)
    chosen = [case for case in catalogue if case.case_id in bulk | named]
    if request.start_from is not None:
        first = find(catalogue, request.start_from)[0].number
        chosen = [case for case in chosen if case.number >= first]
    excluded = [
        (case, reasons[case.case_id])
        for case in chosen
        if case.case_id in reasons and case.case_id not in named
    ]
    gone = {case.case_id for case, _ in excluded}
    return Selected([case for case in chosen if case.case_id not in gone], excluded)


def expand_exclusions(
    catalogue: Sequence[CaseInfo], exclusions: Mapping[str, str]
) -> dict[str, str]:
    """Return the reason for each excluded case, by its id. The first exclusion of a case counts.

    :raise UsageError: an exclusion names no case.
    """
    reasons: dict[str, str] = {}
    for entry, reason in exclusions.items():
        for case in find(catalogue, entry):
            reasons.setdefault(case.case_id, reason)
    return reasons


def find(catalogue: Sequence[CaseInfo], argument: str) -> list[CaseInfo]:
    """Return the cases that `argument` names: ``17``, ``001-100``, ``12-``, ``-5``, or a name.

    A name is the stem of the file, its path, or the stem without the number.

    :raise UsageError: it names no case.
    """
    if _is_range(argument):
        return _find_range(catalogue, argument)
    if argument.isascii() and argument.isdigit():
        number = int(argument)
        found = [case for case in catalogue if case.number == number]
        if not found:
            raise UsageError(f"no case {number:03}; nearest: {_nearest(catalogue, number)}")
        return found
    stem = argument.rsplit("/", 1)[-1].removesuffix(".py")
    found = [case for case in catalogue if stem in (case.case_id, case.name)]
    if not found:
        raise UsageError(f"no case named {argument!r}; {_like(catalogue, argument, stem)}")
    return found


def _like(catalogue: Sequence[CaseInfo], argument: str, stem: str) -> str:
    """Return the hint for a word that names no case: subcommands and names that it may mean."""
    if any(argument in case.spec.groups for case in catalogue):
        return f"it is a group; write -g {argument}"
    if commands := suggestions(argument, COMMANDS):
        return f"did you mean the subcommand {commands[0]}?"
    known = [case.case_id if stem[:1].isdigit() else case.name for case in catalogue]
    near = suggestions(stem, dict.fromkeys(known), _SHOWN)
    return f"nearest: {', '.join(near)}" if near else "-l lists all"


def _is_range(argument: str) -> bool:
    found = _RANGE.match(argument)
    return found is not None and bool(found["first"] or found["last"])


def _find_range(catalogue: Sequence[CaseInfo], argument: str) -> list[CaseInfo]:
    found = _RANGE.match(argument)
    assert found is not None
    first, last = int(found["first"] or 0), int(found["last"] or _NUMBER_LIMIT)
    if first > last:
        raise UsageError(f"range {argument} ends before it begins; write {last:03}-{first:03}")
    cases = [case for case in catalogue if first <= case.number <= last]
    if not cases:
        raise UsageError(f"no case in {argument}; nearest: {_nearest(catalogue, first)}")
    return cases


def _nearest(catalogue: Sequence[CaseInfo], number: int) -> str:
    near = sorted(catalogue, key=lambda case: (abs(case.number - number), case.number))[:3]
    numbers = sorted(case.number for case in near)
    return ", ".join(f"{one:03}" for one in numbers) or "there are no cases"


def parse_exclusions(text: str, source: str) -> dict[str, str]:
    """Parse an exclude file: on each line a case or range and a reason; ``#`` starts a comment.

    :return: arguments of `find` with their reasons; "excluded by SOURCE" if a line has none.
    """
    exclusions: dict[str, str] = {}
    for line in text.splitlines():
        case, _, reason = line.strip().partition(" ")
        if case and not case.startswith("#"):
            exclusions[case] = _reason(reason.strip().lstrip("#").strip(), source)
    return exclusions


def parse_exclusion_list(entries: Iterable[str], source: str = "-e") -> dict[str, str]:
    """Parse the entries of ``-e``: ``017``, ``001-010``, or ``017=why``.

    :raise UsageError: nothing comes after ``=``.
    """
    exclusions: dict[str, str] = {}
    for entry in entries:
        case, equals, reason = entry.partition("=")
        if equals and not reason.strip():
            raise UsageError(f"{source} {entry}: no reason after '='; write {case.strip()}=WHY")
        if case.strip():
            exclusions[case.strip()] = _reason(reason.strip(), source)
    return exclusions


def _reason(reason: str, source: str) -> str:
    return f"excluded by {source}: {reason}" if reason else f"excluded by {source}"

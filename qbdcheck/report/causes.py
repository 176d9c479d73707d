"""The causes of a run's failures: what they share, the likely root first.

A failure has traits (`qbdcheck.report.symptoms`): its kinds of damage, the request, the errno, the
state of the target. Each trait has a weight: how few kinds of bugs show it. The first cause is the
trait with the largest product of weight and share of the failures. It explains the failures that
have the trait, and those that show nothing more telling: misdirected data is missing elsewhere, and
breaks images and goldens. The other causes are found in the same way among the other failures.

A contradiction is a claim of the target that its probe refuted in this run. It is the first
hypothesis if enough failures fit it.
"""

from __future__ import annotations

import errno
import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from oracles.damage import Damage
from oracles.finding import Finding
from qbdcheck.report import symptoms
from qbdcheck.report.cause import cause_of_case, main_finding
from qbdcheck.report.cause_title import (
    BREAK_PROTOCOL,
    NOTHING,
    kinds_in_words,
    lost_title,
    story_of,
    title_of,
)
from qbdcheck.report.conditions import Condition, condition_of, fulfils, lies_in
from qbdcheck.report.events import CaseEnded, Cause
from qbdcheck.report.lost_parts import lost_part, shared_part, title_of_part
from qbdcheck.report.page_damage import is_wrong_read
from qbdcheck.report.page_reply import REPORT_ERRORS
from qbdcheck.report.page_words import named
from qbdcheck.report.phases import KNOWN_STATES, ended_by, has_an_end, with_its_end
from qbdcheck.report.shared_facts import NOT_THERE, reads_alike, shared_facts
from qbdcheck.report.symptoms import Symptoms, symptoms_of
from qbdcheck.report.traits import Trait, traits_of, weight

MOST = 5
"""Causes that a run names; the failures of all others are one more."""
MASS = 8
"""From so many failures on, a run is a mass failure: its target's claims are probed again."""
_TELLING = 1.5
"""A trait of at least this weight points to a cause of its own."""
_CONTRADICTED = 0.25
"""The share of the failures that must fit a false claim. A server that loses plain writes fails the
probe of FUA too, but then FUA is not what the failures have in common."""
_MORE_LOST = 4
"""A flush is to blame only if so many times more failures show lost writes after a power cut than
without one."""
_NAMED = 6
"""Cases that a title names."""
_COMMON = 0.8
"""A trait that this share of a cause's failures has is part of its description."""
_SCRIPT = "script.sh"

_CIRCUMSTANCES = ("state", "size", "alignment")
"""Kinds of traits that are no cause of their own: a title has them only if all failures do."""
_ENDED_WRONGLY = {kind.value for kind in Damage if kind.rank >= Damage.ERROR.rank}
_WRONG_READS = "reads return other data than is stored"
_HANDSHAKE: Trait = ("command", "handshake")
STARVED = "the machine was starved, so nothing is known about the target"
_MIXED = "different kinds of damage"
_NUMBER = re.compile(r"\d+")
_OLDER = frozenset(
    kind.value
    for kind in (Damage.STALE, Damage.NEVER_WRITTEN, Damage.LOST, Damage.NOT_LINEARIZABLE)
)
"""Kinds that say the same: what is read is older than a write that was acknowledged."""
_OF_LOST_WRITES = frozenset({
    ("command", symptoms.WRITE), *(("damage", kind.value) for kind in NOT_THERE),
})  # fmt: skip
"""Traits that lost writes have first."""
EVERYTHING = "everything"
"""The claim of a contradiction that explains each failure: the profile is of another target."""
_CLAIMS: Mapping[str, Trait] = {
    "write_zeroes": ("command", symptoms.ZEROES),
    "fast_zero": ("flag", "FAST_ZERO"),
    "discard": ("command", symptoms.DISCARD),
    "flush": ("command", symptoms.FLUSH),
    "fua": ("flag", "FUA"),
    "cache": ("command", "cache"),
    "block_status": ("command", symptoms.STATUS),
    "resize": ("command", "resize"),
    "snapshot": ("command", "snapshot"),
    "clone": ("command", "snapshot"),
    "crash": ("state", "after a power cut"),
    "kill": ("state", "after a crash or a restart"),
    "multi_conn": ("state", "with requests in flight"),
    "df": ("flag", "DF"),
}
"""What failures have in common that a false claim causes."""


@dataclass(frozen=True)
class Contradiction:
    """A claim that does not hold: the capability, and the result of its probe in one line."""

    claim: str
    detail: str


@dataclass(frozen=True)
class _Failure:
    case: CaseEnded
    shows: Symptoms
    traits: frozenset[Trait]

    @property
    def number(self) -> str:
        return f"{self.case.number:03d}"

    @property
    def simplicity(self) -> tuple[bool, bool, int, int]:
        """The order in which failures are read: data before text, few findings, low numbers."""
        findings = self.case.findings
        names_request = bool(self.shows.command)
        return not findings, not names_request, min(len(findings), 20), self.case.number


def causes_of(
    cases: Iterable[CaseEnded], contradictions: Sequence[Contradiction] = ()
) -> tuple[Cause, ...]:
    """Return the causes of the failures among cases, the likely root first; () without one.

    Starved cases say nothing about the target: they are the last cause, and no part of others.
    """
    bad = [case for case in cases if case.verdict.is_bad]
    flushes = [case for case in bad if _is_due_to_a_flush(_main(case))]
    blames_flushes = len(flushes) > _MORE_LOST * sum(map(_is_lost_at_once, bad))
    failures = [_failure(case, blames_flushes=blames_flushes) for case in bad]
    starved = [one for one in failures if one.case.starved is not None]
    rest, found = [one for one in failures if one.case.starved is None], []
    for one in contradictions:
        cause, rest = _of_contradiction(one, rest, len(failures))
        if cause is not None:
            found.append(cause)
    while rest and len(found) < MOST:
        cause, rest = _next(rest, len(failures), is_first=not found)
        found.append(cause)
    if rest:
        found.append(
            _cause(
                ("other", "failures that share nothing with the others"),
                rest,
                rest,
                len(failures),
                set(),
            )
        )
    if starved:
        found.append(_cause(("other", STARVED), starved, starved, len(failures), set()))
    return tuple(found)


def suspects(cases: Iterable[CaseEnded]) -> frozenset[str]:
    """Return the capabilities whose claims could explain a failure, if they were false."""
    bad = [case for case in cases if case.verdict.is_bad and case.starved is None]
    traits = {trait for case in bad for trait in _failure(case).traits}
    return frozenset(word for word, trait in _CLAIMS.items() if trait in traits)


def _failure(case: CaseEnded, *, blames_flushes: bool = True) -> _Failure:
    findings = [one for one in named(case.findings) if not one.follows]
    shows = symptoms_of(case.message, case.details, findings, case.groups)
    if blames_flushes and _is_due_to_a_flush(main_finding(findings)):
        shows = replace(shows, command=symptoms.FLUSH, flags=())
    return _Failure(case, shows, traits_of(shows))


def _main(case: CaseEnded) -> Finding | None:
    return main_finding([one for one in named(case.findings) if not one.follows])


def _is_lost_at_once(case: CaseEnded) -> bool:
    """Return whether a case shows that stored data is not what was written, without a power cut.

    Where writes are lost so, they are lost before power cuts too, and no flush is to blame.
    """
    main = _main(case)
    if main is None or main.damage not in NOT_THERE or is_wrong_read(main):
        return False
    culprit = main.culprit
    return culprit is not None and not any(one.kind == "cut" for one in main.life)


def _is_due_to_a_flush(finding: Finding | None) -> bool:
    """Return whether the life of a place names a flush that made nothing durable."""
    culprit = finding.culprit if finding is not None else None
    return (
        finding is not None and culprit is not None and finding.life[culprit.place].kind == "flush"
    )


def _next(rest: list[_Failure], total: int, *, is_first: bool) -> tuple[Cause, list[_Failure]]:
    """Return the likeliest cause of some failures, and the failures that it does not explain."""
    counts: dict[Trait, int] = {}
    for failure in rest:
        for trait in failure.traits:
            counts[trait] = counts.get(trait, 0) + 1
    if not counts:
        return _cause(("other", _text_of(rest)), rest, rest, total, set()), []
    root = max(counts, key=lambda trait: (counts[trait] * weight(trait), counts[trait], trait))
    members = [failure for failure in rest if root in failure.traits]
    shared = _shared(members)
    explained = [
        failure
        for failure in rest
        if failure in members or _is_explained(failure, shared, is_first)
    ]
    if root[0] in _CIRCUMSTANCES:
        members = explained
    true = _true_of_all(members)
    title = title_of(root, true)
    if not any(_ENDED_WRONGLY & set(one.shows.damage) for one in members):
        title = title.replace(", or end wrongly", "")
    title = with_its_end(title, [one.case for one in members])
    if title == NOTHING or all(kind in _CIRCUMSTANCES for kind, _ in {root, *true}):
        title = _mixed(members)
    condition = condition_of([one.case.findings for one in explained]) or condition_of(
        [one.case.findings for one in members]
    )
    if root in _OF_LOST_WRITES and _are_lost_writes([one.case for one in explained]):
        title = lost_title([main for one in explained if (main := _main(one.case)) is not None])
    if all(map(_is_wrong_read, members)):
        title = _wrong_reads(members)
    story = story_of([_main(one.case) for one in members])
    title = story or title
    part = "" if story else shared_part(one.case.findings for one in members)
    alike = [one for one in rest if part and lost_part(one.case.findings) == part]
    if len(alike) > len(members):
        cases = [one.case for one in alike]
        title = title_of_part(part, ended_by(cases) if all(map(has_an_end, cases)) else None)
    members = alike or members
    title += _facts(members, condition)
    shown = [one for one in rest if one in members or _shows(one, members, condition)]
    beside = [
        one
        for one in rest
        if one not in shown and condition is not None and lies_in(one.case, condition)
    ]
    explained = [one for one in rest if one in explained or one in shown or one in beside]
    lost = [one for one in rest if one not in explained and _lost_its_reply(one, title)]
    if lost:
        explained += lost
        title += f"; {len(lost)} more where the client reports EIO instead{_numbers(lost)}"
    if beside:
        where = "at places where such data is missing or was put"
        title += f"; {len(beside)} more {where}{_numbers(beside)}"
    title += _followers([*shown, *beside, *lost], explained)
    return (
        _cause(("pattern", title), members, explained, total, shared),
        [failure for failure in rest if failure not in explained],
    )


def _of_contradiction(
    one: Contradiction, rest: list[_Failure], total: int
) -> tuple[Cause | None, list[_Failure]]:
    """Return the cause that a false claim is, if enough failures fit it, and the other failures."""
    if one.claim == EVERYTHING:
        return _cause(("contradiction", one.detail), rest, rest, total, set()), []
    trait = _CLAIMS.get(one.claim)
    members = [failure for failure in rest if trait in failure.traits]
    if not members or len(members) < _CONTRADICTED * total:
        return None, rest
    shared = _shared(members)
    explained = [
        failure
        for failure in rest
        if failure in members
        # a claim is about its requests, so what a server answers to others has another cause
        or (not _is_of_another(failure, trait) and _is_explained(failure, shared, True))
    ]
    title = f"the target claims {one.claim}, but its probe failed: {one.detail}"
    title += _followers(members, explained)
    cause = _cause(("contradiction", title), members, explained, total, shared)
    return cause, [failure for failure in rest if failure not in explained]


def _is_of_another(failure: _Failure, claim: Trait | None) -> bool:
    """Return whether a failure is the wrong outcome of the handshake, or of another command.

    Damaged data is not: a false claim of one command damages what others read.
    """
    commands = {trait for trait in failure.traits if trait[0] == "command"}
    has_other = bool(commands) and claim not in commands and not failure.shows.damage
    return _HANDSHAKE in commands or (has_other and claim is not None and claim[0] == "command")


def _is_wrong_read(failure: _Failure) -> bool:
    """Return whether a second read of what a case is about returned the right data."""
    main = _main(failure.case)
    return main is not None and is_wrong_read(main)


def _wrong_reads(members: Sequence[_Failure]) -> str:
    """Return that reads are wrong, and the kinds of damage that they show."""
    kinds = dict.fromkeys(one.shows.damage[0] for one in members if one.shows.damage)
    return f"{_WRONG_READS}: {kinds_in_words(list(kinds))}" if kinds else _WRONG_READS


def _mixed(members: Sequence[_Failure]) -> str:
    """Return the kinds of damage of failures that have none in common, with their numbers."""
    kinds = Counter(one.shows.damage[0] for one in members if one.shows.damage)
    states = Counter(
        one.shows.state
        for one in members
        if one.shows.state in KNOWN_STATES and has_an_end(one.case)
    )
    if not kinds:
        return _same_message(members) or NOTHING
    told = ", ".join(f"{kind} ({count})" for kind, count in kinds.most_common())
    subject = "reads return older data than was acknowledged" if kinds.keys() <= _OLDER else _MIXED
    wrong = [any(is_wrong_read(finding) for finding in one.case.findings) for one in members]
    histories = [Damage.NOT_LINEARIZABLE.value in one.shows.damage for one in members]
    if any(wrong) and all(map(any, zip(wrong, histories, strict=True))):
        subject = _WRONG_READS
    state, count = (states.most_common(1) or [("", 0)])[0]
    where = f"; {state} in {count} of {len(members)}" if state else ""
    return f"{subject}: {told}{where}"


def _shared(members: Sequence[_Failure]) -> set[Trait]:
    """Return the traits that most members have."""
    counts: dict[Trait, int] = {}
    for failure in members:
        for trait in failure.traits:
            counts[trait] = counts.get(trait, 0) + 1
    return {trait for trait, count in counts.items() if count >= _COMMON * len(members)}


def _true_of_all(members: Sequence[_Failure]) -> set[Trait]:
    """Return the traits that each failure has, and that none of its findings contradicts."""
    common = set.intersection(*(set(failure.traits) for failure in members))
    return {
        trait
        for trait in common
        if trait == ("command", symptoms.FLUSH)  # the last request there is a write
        or not any(symptoms.is_contradicted(trait, one.case.findings) for one in members)
    }


def _facts(members: Sequence[_Failure], condition: Condition | None) -> str:
    facts = shared_facts([named(failure.case.findings) for failure in members], condition)
    return f": {', '.join(facts)}" if facts else ""


def _numbers(failures: Sequence[_Failure]) -> str:
    """Return the numbers of the first cases, in parentheses."""
    numbers = list(dict.fromkeys(one.number for one in failures))
    more = ", ..." if len(numbers) > _NAMED else ""
    return f" ({', '.join(numbers[:_NAMED])}{more})"


def _text_of(failures: Sequence[_Failure]) -> str:
    """Return the text of failures that show nothing else, or how many there are."""
    texts = dict.fromkeys(_example(one.case) for one in failures)
    if len(texts) == 1:
        return next(iter(texts))
    return _same_message(failures) or f"{len(failures)} failures with texts alone"


def _same_message(failures: Sequence[_Failure]) -> str:
    """Return the message of failures whose messages differ in numbers only; "" if they do not."""
    alike = len({_NUMBER.sub("N", one.case.message) for one in failures}) == 1
    return f"the same message: {_example(failures[0].case)}" if alike else ""


def _lost_its_reply(failure: _Failure, title: str) -> bool:
    """Return whether a program may have got EIO because a reply with an error was unusable.

    A client that cannot use a reply ends the connection, and fails its requests with EIO.
    """
    is_cause = BREAK_PROTOCOL in title and REPORT_ERRORS in title
    return is_cause and os.strerror(errno.EIO) in failure.case.message


def _are_lost_writes(cases: Sequence[CaseEnded]) -> bool:
    """Return whether most failures show that what was written is not there, power cut or not."""
    mains = [main for case in cases if (main := _main(case)) is not None]
    lost = [one for one in mains if one.damage in NOT_THERE and not is_wrong_read(one)]
    return any(map(_is_lost_at_once, cases)) and len(lost) >= _COMMON * len(mains)


def _shows(failure: _Failure, members: Sequence[_Failure], condition: Condition | None) -> bool:
    """Return whether a failure shows what the others have in common, though in another way."""
    findings = failure.case.findings
    if condition is not None and fulfils(findings, condition):
        return True
    return reads_alike(findings, [one.case.findings for one in members])


def _followers(members: Sequence[_Failure], explained: Sequence[_Failure]) -> str:
    """Return how many failures do not show it themselves."""
    others = len(explained) - len(members)
    if not others:
        return ""
    return f"; {others} other failure{'s' if others > 1 else ''} may follow from it"


def _is_explained(failure: _Failure, shared: set[Trait], is_first: bool) -> bool:
    """Return whether a failure has a telling trait of a cause, or none of its own."""
    if any(weight(trait) >= _TELLING for trait in shared & failure.traits):
        return True
    return is_first and all(weight(trait) < _TELLING for trait in failure.traits)


def _cause(
    what: tuple[str, str],
    members: Sequence[_Failure],
    explained: Sequence[_Failure],
    total: int,
    shared: set[Trait],
) -> Cause:
    """Return a cause. ``what``: its kind and title."""
    first = min(members, key=lambda failure: failure.simplicity)
    script = _smallest_script(failure.case for failure in explained)
    return Cause(
        kind=what[0],
        title=what[1],
        cases=tuple(dict.fromkeys(failure.number for failure in explained)),
        failures=len(explained),
        share=round(len(explained) / total, 4),
        read_first=first.number,
        example=_example(first.case),
        rerun=first.case.rerun,
        script=script,
        traits={f"{kind}:{value}": round(weight((kind, value)), 2)
                for kind, value in sorted(shared, key=lambda one: (-weight(one), one))},
    )  # fmt: skip


def _example(case: CaseEnded) -> str:
    """Return one sentence on a failure, with its request."""
    text = cause_of_case(case) or case.message.partition("\n")[0]
    main = main_finding(case.findings)
    if main is not None and not main.request and main.last_write:
        text += f"; last write there: {main.last_write}"
    return text


def _smallest_script(cases: Iterable[CaseEnded]) -> str:
    """Return the shortest script that a case has saved; "" without one."""
    scripts = [
        Path(name) for case in cases for name in case.artefacts if Path(name).name == _SCRIPT
    ]
    sizes = {path: path.stat().st_size for path in scripts if path.is_file()}
    return str(min(sizes, key=lambda path: (sizes[path], path))) if sizes else ""

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

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from oracles.damage import Damage
from oracles.finding import Finding
from qbdcheck.report import symptoms
from qbdcheck.report.cause import cause_of_case, main_finding
from qbdcheck.report.events import CaseEnded, Cause
from qbdcheck.report.page_damage import is_wrong_read
from qbdcheck.report.page_words import named
from qbdcheck.report.shared_facts import shared_facts
from qbdcheck.report.symptoms import Symptoms, symptoms_of

MOST = 5
"""Causes that a run names; the failures of all others are one more."""
MASS = 8
"""From so many failures on, a run is a mass failure: its target's claims are probed again."""
_TELLING = 1.5
"""A trait of at least this weight points to a cause of its own."""
_CONTRADICTED = 0.25
"""The share of the failures that must fit a false claim. A server that loses plain writes fails the
probe of FUA too, but then FUA is not what the failures have in common."""
_COMMON = 0.8
"""A trait that this share of a cause's failures has is part of its description."""
_TOLD = 5
"""Traits in the title of a cause."""
_SCRIPT = "script.sh"

_PHRASES = {
    "at most 512 bytes": "places of at most 512 bytes",
    "at most 4 KiB": "places of at most 4 KiB",
    "at most 64 KiB": "places of at most 64 KiB",
    "at most 1 MiB": "places of at most 1 MiB",
    "over 1 MiB": "places of over 1 MiB",
    "aligned to 512": "at multiples of 512 bytes",
    "aligned to 4096": "at multiples of 4096 bytes",
    "unaligned": "at unaligned places",
}
"""Traits as the title of a cause says them."""
_LOST = "lost data"
_SAID = {
    Damage.LENGTH.value: "wrong length",
    Damage.SIZE.value: "wrong size",
    "must fail": "wrong success",
}
_MOVED = re.compile(r"([+-])(\d+) (bytes|sectors) away")

Trait = tuple[str, str]
"""A kind of trait and its value: ``("command", "flush")``."""

_DAMAGES: Mapping[Damage, float] = {
    Damage.MISDIRECTED: 4.0,
    Damage.SWAPPED: 4.0,
    Damage.SHIFTED: 3.0,
    Damage.FOREIGN: 2.0,
    Damage.BIT_FLIP: 3.0,
    Damage.BEYOND_END: 3.0,
    Damage.CHANGING: 2.5,
    Damage.TRUNCATED: 2.5,
    Damage.SIZE: 2.5,
    Damage.LENGTH: 2.0,
    Damage.STATUS: 2.0,
    Damage.NEWER: 2.0,
    Damage.DIED: 6.0,
    Damage.HANG: 2.5,
    Damage.PROTOCOL: 1.6,
    Damage.NOT_READY: 2.0,
    Damage.ZEROED: 1.2,
    Damage.TORN: 1.0,
    Damage.STALE: 1.0,
    Damage.NEVER_WRITTEN: 1.0,
    Damage.LOST: 1.0,
    Damage.NOT_LINEARIZABLE: 0.9,
}
_CONTENTS = frozenset({
    Damage.ZEROED, Damage.STALE, Damage.NEWER, Damage.NEVER_WRITTEN, Damage.LOST,
    Damage.MISDIRECTED, Damage.SWAPPED, Damage.FOREIGN, Damage.TORN, Damage.ALTERED,
    Damage.SHIFTED, Damage.TRUNCATED, Damage.CHANGING, Damage.UNKNOWN,
})  # fmt: skip
"""Kinds that are said of data."""
_COMMANDS: Mapping[str, float] = {
    symptoms.ZEROES: 3.0,
    symptoms.DISCARD: 2.5,
    symptoms.FLUSH: 2.5,
    symptoms.STATUS: 2.0,
    "resize": 2.0,
    "snapshot": 2.0,
    "cache": 2.0,
    "handshake": 1.4,
    symptoms.WRITE: 0.6,
    symptoms.READ: 0.5,
}
_KINDS: Mapping[str, float] = {
    "program": 6.5,
    "end": 1.4,
    "flag": 2.6,
    "errno": 1.7,
    "moved": 4.5,
    "expected": 1.5,
    "state": 1.3,
    "alignment": 0.4,
    "size": 0.3,
}
"""Weights of the other traits."""
_CIRCUMSTANCES = ("state", "size", "alignment")
"""Kinds of traits that are no cause of their own: a title has them only if all failures do."""
_WEAK_ENDS = ("output differs", "pattern differs", "corrupt image", "must fail")
_HANDSHAKE: Trait = ("command", "handshake")
_OTHER = 0.3
_MIXED = "different kinds of damage"
_OLDER = frozenset(
    kind.value
    for kind in (Damage.STALE, Damage.NEVER_WRITTEN, Damage.LOST, Damage.NOT_LINEARIZABLE)
)
"""Kinds that say the same: what is read is older than a write that was acknowledged."""
_NOTHING = "failures whose texts have no request and no kind of damage in common"
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
    """Return the causes of the failures among cases, the likely root first; () without one."""
    failures = [_failure(case) for case in cases if case.verdict.is_bad]
    rest, found = failures, []
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
    return tuple(found)


def suspects(cases: Iterable[CaseEnded]) -> frozenset[str]:
    """Return the capabilities whose claims could explain a failure, if they were false."""
    traits = {trait for case in cases if case.verdict.is_bad for trait in _failure(case).traits}
    return frozenset(word for word, trait in _CLAIMS.items() if trait in traits)


def traits_of(shows: Symptoms) -> frozenset[Trait]:
    """Return the traits of a failure."""
    found: set[Trait] = {("damage", kind) for kind in shows.damage}
    found |= {("flag", flag) for flag in shows.flags}
    for kind in ("command", "size", "alignment", "state", "errno", "end", "program", "moved"):
        if value := getattr(shows, kind):
            found.add((kind, value))
    if shows.expected == "zeroes" and not {"zeroed"} & set(shows.damage):
        found.add(("expected", "zeroes"))
    return frozenset(found)


def _failure(case: CaseEnded) -> _Failure:
    findings = [one for one in named(case.findings) if not one.follows]
    shows = symptoms_of(case.message, case.details, findings, case.groups)
    if _is_due_to_a_flush(main_finding(findings)):
        shows = replace(shows, command=symptoms.FLUSH, flags=())
    return _Failure(case, shows, traits_of(shows))


def _is_due_to_a_flush(finding: Finding | None) -> bool:
    """Return whether the life of a place names a flush that made nothing durable."""
    culprit = finding.culprit if finding is not None else None
    return (
        finding is not None and culprit is not None and finding.life[culprit.place].kind == "flush"
    )


def weight(trait: Trait) -> float:
    """Return how much a trait says about the cause; 1 is average."""
    kind, value = trait
    if kind == "damage":
        return _DAMAGES.get(Damage(value), 0.8)
    if kind == "command":
        return _COMMANDS.get(value, 1.0)
    if kind == "end" and value in _WEAK_ENDS:
        return 0.7
    if kind == "end" and value == "server died":
        return 6.0
    return _KINDS.get(kind, _OTHER)


def _next(rest: list[_Failure], total: int, *, is_first: bool) -> tuple[Cause, list[_Failure]]:
    """Return the likeliest cause of some failures, and the failures that it does not explain."""
    counts: dict[Trait, int] = {}
    for failure in rest:
        for trait in failure.traits:
            counts[trait] = counts.get(trait, 0) + 1
    if not counts:
        return _cause(
            ("other", "failures of which only the text is known"), rest, rest, total, set()
        ), []
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
    title = _title(root, true)
    if title == _NOTHING or all(kind in _CIRCUMSTANCES for kind, _ in {root, *true}):
        title = _mixed(members)
    title += _facts(members) + _followers(members, explained)
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
        # a claim is about requests, so what a server does wrong before them has another cause
        or (_HANDSHAKE not in failure.traits and _is_explained(failure, shared, True))
    ]
    title = f"the target claims {one.claim}, but its probe failed: {one.detail}"
    title += _followers(members, explained)
    cause = _cause(("contradiction", title), members, explained, total, shared)
    return cause, [failure for failure in rest if failure not in explained]


def _mixed(members: Sequence[_Failure]) -> str:
    """Return the kinds of damage of failures that have none in common, with their numbers."""
    kinds = Counter(one.shows.damage[0] for one in members if one.shows.damage)
    states = Counter(one.shows.state for one in members if one.shows.state)
    if not kinds:
        return _NOTHING
    told = ", ".join(f"{kind} ({count})" for kind, count in kinds.most_common())
    subject = "older data than was acknowledged" if kinds.keys() <= _OLDER else _MIXED
    wrong = [any(is_wrong_read(finding) for finding in one.case.findings) for one in members]
    histories = [Damage.NOT_LINEARIZABLE.value in one.shows.damage for one in members]
    if any(wrong) and all(map(any, zip(wrong, histories, strict=True))):
        subject = "reads that return other data than is stored"
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


def _facts(members: Sequence[_Failure]) -> str:
    facts = shared_facts([one for failure in members for one in failure.case.findings])
    return f": {', '.join(facts)}" if facts else ""


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


def _title(root: Trait, shared: set[Trait]) -> str:
    """Return what the failures of a cause have in common, as a sentence of the telling traits.

    For example: ``torn data of write zeroes requests, after a power cut, at most 512 bytes``.
    """
    others = sorted(shared - {root}, key=lambda trait: (-weight(trait), trait))
    chosen: dict[str, list[str]] = {}
    roots = [root] if root in shared or root[0] == "damage" else []
    for kind, value in [*roots, *others][:_TOLD]:
        chosen.setdefault(kind, []).append(value)
    subject, requests = _subject(chosen), _requests(chosen)
    if symptoms.FLUSH in chosen.get("command", ()) and subject.endswith(" data"):
        requests = "that flush requests had to make durable"
    if symptoms.FLUSH in chosen.get("command", ()) and not subject:
        subject, requests = "flush requests that made nothing durable, or ended wrongly", ""
    parts = [" ".join(filter(None, (subject or "wrong outcome" * bool(requests), requests)))]
    parts += [f"where {value} are expected" for value in chosen.get("expected", ())]
    for kind in ("moved", "state", "errno", "size", "alignment"):
        parts += [_PHRASES.get(value, value) for value in map(_distance, chosen.get(kind, []))]
    state = next(iter(chosen.get("state", ())), "")
    if parts[0].startswith(_LOST) and state in parts:
        parts.remove(state)
        parts[0] = f"data{parts[0].removeprefix(_LOST)} is lost {state}"
    return ", ".join(part for part in parts if part) or _NOTHING


def _distance(value: str) -> str:
    """Return ``8 sectors too high`` for ``+8 sectors away``; other words as they are."""
    found = _MOVED.fullmatch(value)
    if found is None:
        return value
    unit = found[3].removesuffix("s") if found[2] == "1" else found[3]
    return f"{found[2]} {unit} too {'high' if found[1] == '+' else 'low'}"


def _subject(chosen: Mapping[str, Sequence[str]]) -> str:
    """Return what went wrong: a program's death, the kinds of damage, or how requests ended."""
    if "program" in chosen:
        return chosen["program"][0]
    damage = list(chosen.get("damage", ()))
    contents = " or ".join(kind for kind in damage if Damage(kind) in _CONTENTS)
    rest = [_SAID.get(kind, kind) for kind in damage if Damage(kind) not in _CONTENTS]
    rest += [_SAID.get(end, end) for end in chosen.get("end", ())]
    return ", ".join([*([f"{contents} data"] if contents else []), *rest])


def _requests(chosen: Mapping[str, Sequence[str]]) -> str:
    """Return ``of write requests with FUA``; "" if no command and no flag is known."""
    if "program" in chosen or not {"command", "flag"} & set(chosen):
        return ""
    command = "".join(f"{value} " for value in chosen.get("command", ()))
    flags = " and ".join(chosen.get("flag", ()))
    in_reply = {Damage.PROTOCOL.value, Damage.LENGTH.value} & set(chosen.get("damage", ()))
    of = "in replies to" if in_reply else "of"
    return f"{of} {command}requests" + (f" with {flags}" if flags else "")


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

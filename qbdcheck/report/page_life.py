"""The life of a sector as a picture: a lane for each connection, a mark for each event, in order.

A change of the place in another volume that may share data with it has a lane of its own.

The marks are at equal distances, because the times between them differ by a factor of a million.
Below each mark is the time since the one before; hovering and the table show the times.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from oracles.damage import Damage
from oracles.finding import SECTOR, Finding
from oracles.flush_story import kept_by_flush
from oracles.life import DIFFERED, KILLED, NOT_JUDGED, WHOLE, Moment
from oracles.linearizability import STALE
from qbdcheck.report.page_damage import is_wrong_read

_SHOWN = 26
"""Marks of a picture; the table has all moments."""
_STEP = 36
"""Width of a mark in pixels."""
_LEFT = 128
_LETTER = 6
"""Width of a letter of a lane's name in pixels, at most."""
_LANE = 42
_TOP = 26
_TEXTS = {
    "prefill": "prefill",
    "write": "write",
    "zero": "write zeroes",
    "discard": "discard",
    "read": "read",
    "flush": "flush",
    "cut": "power cut, or kill of the server",
    "fault": "fault",
    "resize": "resize",
    "restart": "server stopped and started",
    "snapshot": "snapshot or clone made or removed",
    "status": "block status",
    "error": "request failed",
    "close": "connection closed",
}
_LETTERS = {
    "prefill": "P",
    "write": "W",
    "zero": "Z",
    "discard": "D",
    "read": "R",
    "fault": "!",
    "status": "B",
    "error": "E",
    "close": "X",
}
_TOLD = ("fault", "cut", "resize", "snapshot", "status", "error")
"""Kinds of events whose text the table shows."""
_NO_LANE = "volume"
_IN = "in "
"""Begins the name of the lane of another volume."""
_OTHER = "another volume"
RIGHT = "right"
"""The role of a read that returned the right data."""


@dataclass(frozen=True)
class Mark:
    """An event in the picture: its middle, its class, its letter, and what hovering shows.

    ``number`` is that of its operation. ``role`` is ``culprit``, ``lost``, ``saw`` (the read that
    saw the damage) or empty. ``bottom`` is 0 for a mark in a lane, else the lower end of a line
    through all lanes. ``later`` is the time since the mark before.
    """

    x: int
    y: int
    kind: str
    letter: str
    title: str
    role: str
    note: str
    number: str = ""
    bottom: int = 0
    later: str = ""


@dataclass(frozen=True)
class Line:
    """A row of the table: (time, event, connection, place, what it means here), and its role."""

    cells: tuple[str, str, str, str, str]
    role: str


@dataclass(frozen=True)
class Life:
    """The picture and the table; ``sentence`` says what the culprit did, empty if none is known.

    ``caption`` says how many of the events the table has. ``axis``: where the lanes begin;
    ``right``: the room for their names on the right of a wide picture.
    """

    heading: str
    caption: str
    width: int
    height: int
    axis: int
    right: int
    lanes: tuple[tuple[str, int], ...]
    marks: tuple[Mark, ...]
    lines: tuple[Line, ...]
    left_out: int
    sentence: str
    kinds: tuple[str, ...]
    roles: tuple[tuple[str, str], ...]


LEGEND = {kind: (_LETTERS.get(kind, ""), text) for kind, text in _TEXTS.items()}
"""The letter and the name of each kind of event."""


def life_of(finding: Finding) -> Life | None:
    """Return the life of the first sector of a finding; None if nothing is known of it."""
    if not finding.life:
        return None
    life, roles = _with_relatives(finding, _roles(finding))
    chosen = _chosen(life, roles)
    names = list(dict.fromkeys(one.lane or _NO_LANE for at in chosen for one in [life[at]]
                               if one.kind not in WHOLE)) or [_NO_LANE]  # fmt: skip
    lanes = {name: _TOP + _LANE * number for number, name in enumerate(names)}
    bottom = _TOP + _LANE * len(names)
    left = max(_LEFT, 32 + _LETTER * max(map(len, names)))
    marks = tuple(
        replace(
            _mark(life[at], roles.get(at, ("", "")), left + _STEP * number, lanes, bottom),
            later=_later(life[chosen[number - 1]], life[at]) if number else "",
        )
        for number, at in enumerate(chosen)
    )
    culprit = finding.culprit
    return Life(
        heading=_heading(finding),
        caption=_caption(finding, len(life) - len(chosen)),
        width=left + _STEP * len(chosen) + 40,
        height=bottom + 24,
        axis=left - 16,
        right=left - 32,
        lanes=tuple(lanes.items()),
        marks=marks,
        lines=tuple(_line(one, roles.get(at, ("", ""))) for at, one in enumerate(life)),
        left_out=len(life) - len(chosen),
        sentence=culprit.sentence if culprit and not is_wrong_read(finding) else "",
        kinds=tuple(kind for kind in _TEXTS if any(life[at].kind == kind for at in chosen)),
        roles=tuple(dict(roles.values()).items()),
    )


def _heading(finding: Finding) -> str:
    if finding.asked and not finding.length:
        offset, length = finding.asked
        return f"The life of the {length} bytes at offset {offset}"
    has_family = any(one.kind == "snapshot" for one in finding.life)
    of = f" of {finding.volume}" if has_family and finding.volume else ""
    return f"The life of sector {finding.sector}{of}"


def _with_relatives(
    finding: Finding, roles: dict[int, tuple[str, str]]
) -> tuple[list[Moment], dict[int, tuple[str, str]]]:
    """Return a life with the changes of the place in other volumes, and the places of its roles.

    Where a time is not known, the change comes before the last event.
    """
    names = _short_names({one.lane for one in finding.relatives})
    found: list[tuple[Moment, int | None]] = [(one, at) for at, one in enumerate(finding.life)]
    for other in finding.relatives:
        later = (at for at, (one, _) in enumerate(found) if _is_later(one, other))
        named = replace(other, lane=f"{_IN}{names[other.lane]}")
        found.insert(next(later, max(len(found) - 1, 0)), (named, None))
    moved = {at: now for now, (_, at) in enumerate(found) if at is not None}
    return [one for one, _ in found], {moved[at]: role for at, role in roles.items()}


def _short_names(volumes: set[str]) -> dict[str, str]:
    """Return ``clone c5`` for ``clone c5 of snapshot s4``, if no other volume is called so."""
    short = {name: name.partition(" of ")[0] or _OTHER for name in volumes}
    counts = Counter(short.values())
    return {name: one if counts[one] == 1 else name for name, one in short.items()}


def _is_later(one: Moment, other: Moment) -> bool:
    return one.at_s is not None and other.at_s is not None and one.at_s > other.at_s


def _caption(finding: Finding, hidden: int) -> str:
    """Return how many of the events of the place the table has, and what it leaves out.

    :param hidden: events of the table that the picture leaves out.
    """
    own, others = len(finding.life), len(finding.relatives)
    count, missing = own + others, finding.not_listed
    told = f"The last {count} of {count + missing} events" if missing else f"All {count} events"
    if hidden:
        told += f", {hidden} of them not in the picture"
    if not others:
        return told
    names = list(dict.fromkeys(one.lane or _OTHER for one in finding.relatives))
    where = finding.volume or "this volume"
    changes = f"{others} change{'s' if others > 1 else ''}"
    return (
        f"{told}: {own} in {where}, and {changes} of the same place in {', '.join(names)}, whose"
        " other events are left out"
    )


def _roles(finding: Finding) -> dict[int, tuple[str, str]]:
    """Return the role of moments and a word for it, by their places."""
    life, culprit = finding.life, finding.culprit
    roles: dict[int, tuple[str, str]] = {}
    if finding.damage is Damage.NOT_LINEARIZABLE:
        for at, one in enumerate(life):
            if one.kind == "read" and one.text.endswith(STALE):
                roles[at] = "culprit", "returned an old value"
        return roles
    if finding.asked and not finding.length:
        kind = "status" if finding.damage is Damage.STATUS else "error"
        last = max((at for at, one in enumerate(life) if one.kind == kind), default=-1)
        return (
            {last: ("culprit", "is wrong" if kind == "status" else "failed")} if last >= 0 else {}
        )
    last = max((at for at, one in enumerate(life) if one.kind == "read"), default=-1)
    for at, one in enumerate(life[: max(last, 0)]):
        if one.kind == "read" and one.is_certain and one.text not in (NOT_JUDGED, DIFFERED):
            roles[at] = RIGHT, "was right"
    if last >= 0:
        roles[last] = "saw", "saw the damage"
    if culprit is None or is_wrong_read(finding):
        return roles
    if culprit.lost is not None:
        gone = "is damaged" if finding.damage is Damage.TORN else "is gone"
        roles[culprit.lost] = "lost", gone
    kind = life[culprit.place].kind
    words = {"flush": kept_by_flush(finding), "cut": "the power was cut"}
    word = words.get(kind, "is not there")
    if finding.damage is Damage.MISDIRECTED:
        word = "went to the wrong place"
    if finding.damage is Damage.TORN and kind != "flush":
        word = "is torn"
    roles[culprit.place] = "culprit", word
    return roles


def _chosen(life: Sequence[Moment], roles: dict[int, tuple[str, str]]) -> list[int]:
    """Return the places that the picture shows: those with a role, and the last others.

    Of equal flushes in a row only the first and the last are shown: they often are hundreds. What
    is durable without a flush has no mark.
    """
    places = [at for at in range(len(life)) if at in roles or not _is_hidden(life, at)]
    if len(places) <= _SHOWN:
        return places
    kept = set(places[-_SHOWN:]) | {at for at, (name, _) in roles.items() if name != RIGHT}
    return sorted(kept)


def _is_hidden(life: Sequence[Moment], at: int) -> bool:
    """Return whether an event is in the table alone: a flush between two, and what needs none."""
    if life[at].kind == "durable":
        return True
    if not 0 < at < len(life) - 1:
        return False
    around = life[at - 1 : at + 2]
    return all(one.kind == "flush" and one.lane == life[at].lane for one in around)


def _mark(one: Moment, role: tuple[str, str], x: int, lanes: dict[str, int], bottom: int) -> Mark:
    title = "\n".join(_title(one, role[1]))
    if one.kind in WHOLE:
        letter = _LETTERS.get(one.kind, "")
        return Mark(x, _TOP - 8, one.kind, letter, title, *role, bottom=bottom)
    y = lanes[one.lane or _NO_LANE]
    kind = one.kind if one.is_certain else f"{one.kind} unknown"
    kind += " fua" if one.fua else ""
    number = f"#{one.number}" if one.number else ""
    return Mark(x, y, kind, _LETTERS.get(one.kind, "?"), title, *role, number=number)


def _later(before: Moment, one: Moment) -> str:
    """Return how much later a moment is known to be over, such as ``2.3ms``; "" if unknown."""
    if before.at_s is None or one.at_s is None or one.at_s <= before.at_s:
        return ""
    for unit, name in ((1.0, "s"), (1e-3, "ms"), (1e-6, "us")):
        count = (one.at_s - before.at_s) / unit
        if count >= 1:
            return f"{count:.{1 if count < 10 else 0}f}{name}"
    return ""


def _title(one: Moment, word: str) -> Iterator[str]:
    number = f" #{one.number}" if one.number else ""
    yield f"{_event(one)}{number}" + (" with FUA" if one.fua else "")
    if one.at_s is not None:
        yield f"at {one.at_s:.6f} s"
    if one.length and one.kind not in WHOLE:
        first, last = one.offset // SECTOR, (one.offset + one.length - 1) // SECTOR
        yield f"{one.length} bytes at {one.offset}, sectors {first} to {last}"
    if one.lane:
        yield one.lane
    if not one.is_certain:
        yield "not acknowledged: its outcome is not known"
    if one.text and one.kind in (*_TOLD, "read"):
        yield one.text
    if word:
        yield word


def _event(one: Moment) -> str:
    if one.kind == "cut":
        return "SIGKILL" if one.text == KILLED else "power cut"
    if one.kind == "durable":
        return f"durable without a flush, {one.text}"
    return _TEXTS.get(one.kind, one.kind)


def _line(one: Moment, role: tuple[str, str]) -> Line:
    number = f" #{one.number}" if one.number else ""
    what = _event(one) + number + (", FUA" if one.fua else "")
    place = f"{one.offset}+{one.length}" if one.length and one.kind not in WHOLE else ""
    words = [role[1]] if role[1] else []
    if not one.is_certain:
        words.append("outcome not known")
    if one.text and (one.kind in _TOLD or one.text in (NOT_JUDGED, DIFFERED)):
        words.append(one.text)
    time = "" if one.at_s is None else f"{one.at_s:.6f}"
    return Line((time, what, one.lane, place, "; ".join(words)), role[0])

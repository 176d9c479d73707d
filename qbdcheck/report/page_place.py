"""How requests and a damaged place lie to each other, and which requests a place has seen last."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from blockio.sizes import exact_size
from oracles.concurrent_reads import SAME_DATA
from oracles.damage import Content, Damage, What
from oracles.finding import FROM_AFAR, SECTOR, Finding
from oracles.life import CHANGES, DIFFERED, IN_FLIGHT, MAKES_DURABLE, NOT_JUDGED, Moment
from qbdcheck.report.page_damage import is_wrong_read
from qbdcheck.report.page_surroundings import named, range_of

_SHOWN = 4
"""Changes of a place that the list has, beside the one whose data was read."""
_RELATIVES = 6
"""Changes in relatives that the list has: the last ones."""
_NAMES = {"prefill": "prefill", "write": "write", "zero": "write zeroes", "discard": "discard"}
_CHANGING = ("WRITE", "TRIM")
"""Begin the names of commands that change data."""
_READ = re.compile(r"(?i)(?:aio_)?read\b.* (?:at|on|of) ")
_LEAST_UNIT = 4096
"""Bytes: crossing a smaller unit is usual and says nothing."""


@dataclass(frozen=True)
class Request:
    """A request of the list: its name, how the place lies in it, what it means here, and more.

    ``role``: ``lost`` for the change that must be there, ``found`` for that whose data was read,
    ``near`` for one that did not touch the place.
    """

    name: str
    relation: str
    note: str
    role: str = ""
    more: str = ""


def relation(start: int, length: int, offset: int, count: int) -> str:
    """Return how a place of ``count`` bytes at ``offset`` lies to a request, all in bytes.

    :param start: where the request begins. :param length: its length.
    """
    end, last = start + length, offset + count
    if end <= offset:
        away = "directly" if end == offset else f"{offset - end} bytes"
        return f"ends {away} before the place"
    if last <= start:
        away = "directly" if last == start else f"{start - last} bytes"
        return f"begins {away} behind the place"
    if start <= offset and last <= end:
        return f"the place is {_inside(start, end, offset, last)}"
    first, covered = max(start, offset) - offset, min(end, last) - max(start, offset)
    return f"covers bytes {first} to {first + covered - 1} of the {count} bytes of the place"


def _inside(start: int, end: int, offset: int, last: int) -> str:
    length = end - start
    if (start, end) == (offset, last):
        return "all of it"
    count = f"byte of {length}" if last - offset == 1 else f"{last - offset} of {length} bytes"
    if start == offset:
        return f"its first {count}"
    if end == last:
        return f"its last {count}"
    return f"bytes {offset - start} to {last - start - 1} of its {length}"


def requests_there(finding: Finding) -> list[Request]:
    """Return the last changes of a place, the newest first, and later requests close to it."""
    offset, count = _focus(finding)
    if not count:
        return []
    first = (
        (offset, count) if finding.asked and not finding.length else (offset, min(count, SECTOR))
    )
    found = [
        _request(one, finding, first)
        for one in reversed(finding.life)
        if (one.kind in CHANGES or one.kind == "error") and one.touches(*first)
    ]
    seen = next((at for at, one in enumerate(found) if one.role == "found"), None)
    found = [
        replace(one, note="", role="") if one.role == "found" and at != seen else one
        for at, one in enumerate(found)
    ]
    marked = [one for at, one in enumerate(found) if at < _SHOWN or one.role]
    near = [
        Request(
            f"{one.text.removesuffix(IN_FLIGHT)} #{one.number} {range_of(one.length, one.offset)}",
            relation(one.offset, one.length, finding.offset, finding.length),
            "came later, and did not touch it",
            "near",
        )
        for one in finding.nearby
        if finding.culprit is None or finding.culprit.lost is None  # else a flush is to blame
    ]
    others = [
        replace(_request(one, finding, first), note=f"in {one.lane}", role="near", more="")
        for one in reversed(later_in_relatives(finding))
    ]
    return [*others, *near, *marked] if len(found) > 1 or near or others else []


def later_in_relatives(finding: Finding) -> list[Moment]:
    """Return the changes in volumes that may share data that came after the last one of its own.

    There are six at most, the last ones.
    """
    offset, length = _focus(finding)
    place = offset, min(length, SECTOR)
    mine = (one.at_s or 0.0 for one in finding.life if one.kind in CHANGES and one.touches(*place))
    since = max(mine, default=0.0)
    return [one for one in finding.relatives if (one.at_s or 0.0) > since][-_RELATIVES:]


def _focus(finding: Finding) -> tuple[int, int]:
    """Return the place to whose changes a finding points, as offset and length in bytes."""
    if finding.damage is Damage.STATUS and finding.difference is not None:
        return finding.difference.offset, max(len(finding.difference.expected), 1)
    return finding.place


def _request(one: Moment, finding: Finding, place: tuple[int, int]) -> Request:
    if one.kind == "error":
        lies = relation(one.offset, one.length, *place)
        return Request(one.text, lies, "it failed", more=f"by {one.lane}" if one.lane else "")
    number = f" #{one.number}" if one.number else ""
    name = _NAMES[one.kind]
    if one.kind != "prefill":
        name += f"{number} {range_of(one.length, one.offset)}{' with FUA' if one.fua else ''}"
    notes, role = [], ""
    if _is_of(one, finding.seen) and finding.damage is not Damage.MISDIRECTED:
        notes, role = ["its data is there"], "found"
    culprit = finding.culprit
    if culprit is not None and finding.damage is not Damage.MISDIRECTED:
        at = culprit.change
        if finding.life[at] is one:
            notes, role = ["must be there"], "lost"
    more = ["in flight with others"] if one.text.endswith(IN_FLIGHT) else []
    more += [] if one.is_certain else ["not acknowledged"]
    more += [f"by {one.lane}"] if one.lane else []
    lies = relation(one.offset, one.length, *place)
    return Request(name, lies, ", ".join(notes), role, ", ".join(more))


def _is_of(one: Moment, content: Content | None) -> bool:
    """Return whether a change wrote some contents, as far as they show it."""
    if content is None:
        return False
    if content.what is What.ZEROES:
        return one.kind in {"zero", "discard"}
    if content.generation == 0:
        return one.kind == "prefill"
    return bool(content.operation) and one.number == content.operation


def part_of(findings: Sequence[Finding], write: Moment) -> str:
    """Return which part of a change is damaged, as the rest of a sentence; "" if nothing is known.

    :param findings: all of the case: the damage of one change may be several findings.
    """
    ranges = sorted(
        (max(start, write.offset), min(end, write.offset + write.length))
        for one in findings
        for start, end in [damaged_range(one)]
        if one.length and one.damage.rank == Damage.STALE.rank
        and _last_at(one, start) == (write.number, write.offset)
    )  # fmt: skip
    ranges = _joined([(first, end) for first, end in ranges if first < end])
    if not ranges:
        return ""
    if len(ranges) > 1:
        damaged = sum(end - first for first, end in ranges)
        return f"{damaged} of its {write.length} bytes are damaged, in {len(ranges)} parts"
    first, end = ranges[0][0], ranges[-1][1]
    if (first, end) == (write.offset, write.offset + write.length):
        return "all of it is damaged"
    inside = _inside(write.offset, write.offset + write.length, first, end)
    return f"{inside} {'is' if end - first == 1 else 'are'} damaged"


def _joined(ranges: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return sorted ranges without those that touch or overlap: several reads find one damage."""
    joined: list[tuple[int, int]] = []
    for first, end in ranges:
        if joined and first <= joined[-1][1]:
            joined[-1] = joined[-1][0], max(end, joined[-1][1])
        else:
            joined.append((first, end))
    return joined


def _last_at(finding: Finding, place: int) -> tuple[int, int] | None:
    """Return number and offset of the last write of a byte; None if it is not known."""
    last = next((one for one in finding.last_writes if one.touches(place, 1)), None)
    return None if last is None else (last.number, last.offset)


def damaged_range(finding: Finding) -> tuple[int, int]:
    """Return where damaged bytes begin and end, as far as the finding says that."""
    start = finding.sector * SECTOR
    if finding.part is not None and finding.sectors == 1:
        return start + finding.part[0], start + finding.part[1]
    return finding.offset, finding.offset + finding.length


def further(findings: Sequence[Finding], finding: Finding) -> str:
    """Return which part of the lost change is damaged, or whose data a read has; "" if unknown."""
    line = next((one for one in finding.evidence if one.endswith(SAME_DATA)), "")
    if line:
        return f"; {line[:1].lower()}{line[1:]}"
    if finding.damage is Damage.STATUS:
        return _last_change(finding)
    culprit = finding.culprit
    if finding.fit is not None and not finding.fit.is_lost:
        return ""
    is_elsewhere = finding.damage is Damage.MISDIRECTED or finding.found_at is not None
    if is_wrong_read(finding) or is_elsewhere:
        return ""
    told = _from_afar(finding) or _came_after(finding) or _refused(finding) or _of_relative(finding)
    told = told or _unflushed(finding)
    if told or culprit is None:
        return told
    write = finding.life[culprit.change]
    part = part_of(findings, write) if write.kind in ("write", "zero", "discard") else ""
    return f"; {part}" if part else ""


def _from_afar(finding: Finding) -> str:
    """Return which later request may have been done at the place; "" without one."""
    line = next((one for one in finding.evidence if one.startswith(FROM_AFAR)), "")
    return f"; {line}" if line else ""


def found_by(finding: Finding) -> str:
    """Return the read that found damage, as its case calls it; "" if it is not known."""
    if finding.request or finding.asked or not finding.length:
        return ""
    last = next((one for one in reversed(finding.life) if one.kind == "read"), None)
    if last is None or last.text in (NOT_JUDGED, DIFFERED) or not _READ.match(last.text):
        return ""
    return last.text


def _came_after(finding: Finding) -> str:
    """Return what the read that found damage came after, where its case says that; else ""."""
    _, _, after = found_by(finding).partition(", after ")
    return f"; this was read after {after}" if after else ""


def _refused(finding: Finding) -> str:
    """Return which change of the place failed after its last right read; "" if there is none."""
    reads = [at for at, one in enumerate(finding.life) if one.kind == "read"]
    if not finding.length:
        return ""
    start = reads[-2] if len(reads) > 1 else -1
    for one in reversed(finding.life[start + 1 :]):
        if one.kind in CHANGES:
            break
        if one.kind == "error" and one.text.startswith(_CHANGING):
            return f"; before this read, a request to this place failed: {one.text}"
    return ""


def _unflushed(finding: Finding) -> str:
    """Return that a lost change was not flushed when a snapshot was taken of it; else ""."""
    culprit = finding.culprit
    if culprit is None or not finding.volume.startswith(("snapshot ", "clone ")):
        return ""
    at = culprit.change
    if finding.life[at].fua:
        return ""
    for one in finding.life[at + 1 :]:
        if one.kind in {*MAKES_DURABLE, "cut", "restart"}:
            return ""
        if one.kind == "snapshot" and one.text.endswith(" was taken"):
            return f"; it was not flushed when {one.text}"
    return ""


def _of_relative(finding: Finding) -> str:
    """Return that another volume was changed at the place, and what is there is of that kind."""
    one = relative_of(finding)
    return (
        "" if one is None else f"; {one.lane}, which may share data with it, got {named(one)} there"
    )


def relative_of(finding: Finding) -> Moment | None:
    """Return the change of another volume that is of the kind of what is there; None without."""
    seen = finding.seen
    is_zeroed = finding.damage is Damage.ZEROED
    for one in reversed(later_in_relatives(finding)):
        is_write = seen is not None and one.number and one.number == seen.operation
        if (is_zeroed and one.kind in {"zero", "discard"}) or (is_write and not is_zeroed):
            return one
    return None


def _last_change(finding: Finding) -> str:
    """Return the last change of a place whose block status is wrong, as the rest of a sentence."""
    last = next((one for one in reversed(finding.life) if one.kind in CHANGES), None)
    if last is None or last.kind == "prefill" or not finding.place[1]:
        return ""
    lies = relation(last.offset, last.length, *finding.place)
    return f"; the last change there was {named(last)} ({lies})"


def is_as_new(finding: Finding) -> bool:
    """Return whether zeroes are what a place had before all changes that are known of it.

    Then the first change may be missing, or older data was served.
    """
    kinds = {one.kind for one in (*finding.life, *later_in_relatives(finding))}
    has_old = any(one.kind == "prefill" for one in finding.life) and is_wrong_read(finding)
    return has_old and not kinds & {"zero", "discard", "resize"}


def modulo(finding: Finding) -> str:
    """Return of which unit a lost write lost the higher bits of its offset, with a comma, or ""."""
    if finding.found_at is None or finding.found_at >= finding.offset:
        return ""
    moved = finding.offset - finding.found_at
    unit = moved & -moved
    if unit < _LEAST_UNIT or finding.found_at != finding.offset % unit:
        return ""
    return f", at its offset modulo {exact_size(unit)}"


def shape_of(offset: int, length: int) -> str:
    """Return where a request begins and ends, and what it crosses, as the rest of a sentence."""
    end = offset + length
    told = f"begins at {_multiple(offset)}, and ends at {_multiple(end)}"
    if crossed := crossing(offset, end):
        told += f"; it crosses {crossed}"
    return told


def crossing(offset: int, end: int) -> str:
    """Return the multiple of the largest power of two inside a range; "" without a large one.

    It has to be larger than those at which the range begins and ends.
    """
    if not offset:
        return ""
    for bits in reversed(range(end.bit_length())):
        place = (end - 1) >> bits << bits
        if offset < place < end:
            unit = place & -place
            if unit < max(_LEAST_UNIT, 2 * (offset & -offset), 2 * (end & -end)):
                return ""
            return f"offset {place}, a multiple of {exact_size(unit)}"
    return ""


def _multiple(place: int) -> str:
    if not place:
        return "0"
    unit = place & -place
    return f"{place}, a multiple of {exact_size(unit)}" if unit > 1 else str(place)


def damage_shape(finding: Finding, findings: Sequence[Finding]) -> str:
    """Return where the damage of a finding begins and ends, as a sentence; "" without a place.

    :param findings: all of the case.
    """
    start, end = damaged_range(finding)
    if not finding.length:
        return ""
    count = sum(bool(one.length) and not one.follows for one in findings)
    more = f" This is one of {count} damaged ranges." if count > 1 else ""
    return f"The damage {shape_of(start, end - start)}.{more}"


def request_shapes(finding: Finding) -> Iterator[str]:
    """Yield the shape of the request that a finding is about: it failed, or its data is lost."""
    if finding.asked and not finding.length:
        yield f"The request {shape_of(*finding.asked)}."
        return
    if is_wrong_read(finding):
        read = next((one for one in reversed(finding.life) if one.kind == "read"), None)
        if read is not None and read.length:
            lies = relation(read.offset, read.length, finding.offset, finding.length)
            lies = lies.replace("the place is", "the damage is")
            yield f"The read that was wrong {shape_of(read.offset, read.length)}; {lies}."
        return
    culprit = finding.culprit
    if culprit is None:
        return
    write = finding.life[culprit.change]
    if write.kind != "prefill" and write.kind in CHANGES:
        number = f" #{write.number}" if write.number else ""
        went = "whose data is at a wrong place"
        what = went if finding.damage is Damage.MISDIRECTED else "whose data must be there"
        name = f"{_NAMES[write.kind].capitalize()}{number}"
        yield f"{name}, {what}, {shape_of(write.offset, write.length)}."

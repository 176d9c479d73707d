"""The verdict of a failure: one sentence that names the request, what became of it, and where.

It is made of the finding that tells most. Where a failure has no finding, it is made of its text:
the first line of the output that differs, or the words of a program in a guest.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import takewhile

from oracles.damage import Content, Damage, What
from oracles.displacement import summary
from oracles.finding import DISCARDED, SECTOR, Finding
from oracles.life import (
    KILLED,
    MAKES_DURABLE,
    Culprit,
    Moment,
    cut_after,
    ends_before_read,
    reads_that_returned,
    removals_before_read,
    removed_first,
    snapshots_before_read,
)
from oracles.life import place_of as place_of_change
from oracles.resizes import resized
from qbdcheck.report.cause import cause_of_case, main_finding
from qbdcheck.report.events import CaseEnded
from qbdcheck.report.page_damage import is_wrong_read
from qbdcheck.report.page_output import output_difference
from qbdcheck.report.page_place import further, is_as_new, modulo
from qbdcheck.report.page_surroundings import alike, flushed, in_flight, range_of
from qbdcheck.report.shared_facts import reader_and_writer

_REPLY = re.compile(
    r"^(?P<how>after|in reply to) (?P<name>[A-Z_]+), offset (?P<offset>\d+), length (?P<length>\d+)"
)
_OUTPUT = re.compile(r"^output line (\d+)(.*)", re.DOTALL)
_COMMAND = re.compile(
    r"^(?:aio_)?(?P<name>write|read|discard) (?:-\S+ )*(?:[^\s-]\S* )??(?P<offset>\d+)"
    r" (?P<length>\d+): (?P<why>.+)$"
)
"""A command of qemu-io that failed; an option such as ``-s FILE`` has an argument."""
_FIO = re.compile(
    r"fio in the guest: (?P<file>\S+) offset (?P<offset>\d+), (?P<length>\d+) bytes: verify: bad"
    r" magic header (?P<magic>[0-9a-f]+), wanted [0-9a-f]+"
)
_LOST_FILES = re.compile(r"(?P<kind>\S+) after the cut: (?P<files>LOST .*)")
_SINCE = re.compile(r"; all were right before these commands: (.+?):?$", re.MULTILINE)
"""As `qbdcheck.guest.file_set` says what came between the two checks of files."""
_AFTER = re.compile(r"^READ of .+?, after (.+?) differs from what was written")
"""As `qbdcheck.kit.nbd_requests.expect_read` says what must not have changed anything."""
_BEHIND = re.compile(r"was behind its end while it had (\d+) bytes$")
"""Ends what `oracles.life.resized` says of a place that was cut off."""
_ACROSS = re.compile(r"lie across the end that it had with (\d+) bytes$")
_NAMES = {"prefill": "The prefill", "write": "Write", "zero": "Write zeroes", "discard": "Discard"}
_MIB = 1 << 20
_UNITS = ((30, "GiB"), (20, "MiB"), (10, "KiB"))


def verdict_of(case: CaseEnded) -> str:
    """Return the verdict of a failed case, one sentence with its full stop."""
    finding = main_finding(case.findings)
    in_guest = finding is not None and finding.request.startswith("fio in the guest")
    text = (_of_fio if in_guest else _of_finding)(finding) if finding is not None else ""
    if finding is not None and finding.damage is Damage.MISDIRECTED and not is_wrong_read(finding):
        text = _of_displaced(case.findings, text)
    text = text or _of_text(case) or cause_of_case(case) or "Nothing is known of this failure"
    if finding is not None and not in_guest:
        more = f"{_of_sizes(finding)}{further(case.findings, finding)}"
        text = f"{text.rstrip('.')}{more}" if more else text
    if (after := _AFTER.search(case.message)) is not None and after[1] not in text:
        text += f"; this was read after {after[1]}"
    if (since := _SINCE.search(case.message)) is not None and since[1] not in text:
        text += f". Files of the guest are damaged: all were right before {since[1]}"
    return f"{_capitalised(text.rstrip('.'))}{'...' if text.endswith('...') else '.'}"


def _capitalised(text: str) -> str:
    """Return a sentence with a capital letter, unless it begins with a name: ``qbd:dirty``."""
    word = text.partition(" ")[0].rstrip(",:;")
    return f"{text[:1].upper()}{text[1:]}" if word.isalpha() else text


def _of_sizes(finding: Finding) -> str:
    """Return that a place was cut off before, or lies across an earlier end; "" for neither."""
    told = resized(finding.life, *finding.place)
    if behind := _BEHIND.search(told):
        return f"; this was behind the end while the volume had {behind[1]} bytes"
    across = _ACROSS.search(told) if finding.asked and not finding.length else None
    return f"; it lies across the end that the volume had with {across[1]} bytes" if across else ""


def _of_fio(finding: Finding) -> str:
    """Return the verdict on a block of fio whose place or bytes are known; "" for others."""
    if finding.damage is Damage.MISDIRECTED and finding.moved:
        went = f"a write of fio in a guest went {_away(finding.moved)}"
        return f"{went} than it was sent: {finding.text}"
    if finding.found_at is not None:
        return (
            f"a write of fio in a guest went to the wrong place: {place_of(finding)} has not the"
            f" block that belongs there, and it is {_away(finding.found_at - finding.offset)}"
        )
    if finding.difference is not None and finding.difference.expected:
        has = f"{place_of(finding)} {_has(finding, is_one=finding.sectors == 1)}"
        if is_wrong_read(finding):
            return f"a read of fio in a guest is wrong, and the stored data is right: {has}"
        return f"fio in a guest wrote {finding.expected}; read back, {has}"
    return f"{place_of(finding)}: {finding.remark}" if finding.damage is Damage.STALE else ""


def _of_displaced(findings: Sequence[Finding], text: str) -> str:
    """Return the verdict on data at a wrong place: whose it is comes first, then one place."""
    told = summary(findings)
    is_told = any(one.remark for one in findings if one.damage is Damage.MISDIRECTED)
    if not told or is_told or " went to the wrong place" in text:
        return text
    return f"{told}. {text[:1].upper()}{text[1:]}"


def place_of(finding: Finding) -> str:
    """Return ``sector 7`` or ``sectors 7 to 9``, and which MiB begins or ends there."""
    last = finding.sector + finding.sectors - 1
    place = f"sectors {finding.sector} to {last}" if finding.sectors > 1 else f"sector {last}"
    return place + _at_boundary(finding.sector * SECTOR, (last + 1) * SECTOR)


def _at_boundary(start: int, end: int) -> str:
    """Return what is special about a range: requests are often split at each MiB."""
    if start % _MIB and not end % _MIB:
        return f" (the last before {_in_units(end)})"
    if start and not start % _MIB and end % _MIB:
        return f" (the first from {_in_units(start)} on)"
    return ""


def _of_finding(finding: Finding) -> str:
    if finding.damage is Damage.PROTOCOL and (asked := _REPLY.match(finding.request)):
        length = _in_units(int(asked["length"]))
        request = f"(offset {asked['offset']}, length {length})"
        if asked["how"] == "after":
            return f"after {asked['name']} {request}, a reply breaks the protocol: {finding.text}"
        return f"the {asked['name']} reply {request} breaks the protocol: {finding.text}"
    if finding.damage in (Damage.NOT_LINEARIZABLE, Damage.LENGTH) and finding.length:
        return f"{place_of(finding)}: {finding.remark or finding.text}"
    if finding.damage.rank or not finding.length:
        return ""
    if is_wrong_read(finding):
        has = f"{_sided_place(finding)} {_has(finding, is_one=finding.sectors == 1)}"
        return f"a read is wrong, and the stored data is right: in the read, {has}{_who(finding)}"
    return _of_data(finding)


def _who(finding: Finding) -> str:
    """Return that the reader is not the last writer, as the rest of a sentence; "" otherwise."""
    pair = reader_and_writer(finding)
    if pair is None or pair[0] == pair[1]:
        return ""
    return f"; the reader is {pair[0]}, and the last writer {pair[1]}"


def _sided_place(finding: Finding) -> str:
    on = f" on the {finding.side}" if finding.side not in ("", "target") else ""
    has_family = any(one.kind == "snapshot" for one in finding.life)
    of = f" of {finding.volume}" if has_family and finding.volume else ""
    return place_of(finding) + of + on


def _of_data(finding: Finding) -> str:
    """Return what became of a write, where the life of the sector names it."""
    place = _sided_place(finding)
    has = _has(finding, is_one=finding.sectors == 1)
    culprit = finding.culprit
    if finding.since_right:
        again = f"{has.removeprefix('still ')} again" if has.startswith("still ") else has
        return f"{place} {again}; {finding.since_right}"
    if finding.fit is not None and not finding.fit.is_lost:
        what = "it" if finding.sectors == 1 else f"sector {finding.sector}"
        return f"{place} {has}: {what} {finding.fit.text}"
    if culprit is None:
        return _of_place(finding, f"{place} {has}")
    return _of_change(finding, culprit, place, has)


def _of_change(finding: Finding, culprit: Culprit, place: str, has: str) -> str:
    """Return what became of the change that a finding contradicts."""
    at = culprit.change
    write, after = finding.life[at], finding.life[at + 1 :]
    seen = place_of_change(finding.life, finding.seen)
    if finding.damage is Damage.MISDIRECTED:
        return f"{_named(write)} went to the wrong place: {place} {has}"
    if finding.damage is Damage.ZEROED and (older := _zeroed_before(finding.life[:at], finding)):
        has += f", as after {older}"
    if finding.found_at is not None:
        return (
            f"{_named(write)} went to the wrong place: {place} {has}, and its data is"
            f" {_away(finding.found_at - finding.offset)}{modulo(finding)}"
        )
    cut = cut_after(finding.life, at)
    acknowledged = "was acknowledged" if write.is_certain else "has no known outcome"
    if cut is None:
        if _is_innocent(finding, write):
            changed = removed_first(snapshots_before_read(finding.life, at, at, seen))
            since = f"; before this read {changed[-1].text}" if changed else ""
            return f"{place} {has}{_untouched_since(write)}{_beside(finding)}{since}"
        read = next((one for one in reversed(after) if one.kind == "read"), None)
        when = f"read back{_after_end(finding.life, at, seen)}" if read else "then"
        acknowledged += in_flight(finding, write)
        others = alike(finding, write)
        return f"{_named(write)} {acknowledged}; {when}, {place} {has}{_beside(finding)}{others}"
    if flushes := [one for one in finding.life[at + 1 : cut] if one.kind in MAKES_DURABLE]:
        acknowledged += flushed(flushes[0], write)
    elif not write.fua and write.kind != "prefill":
        acknowledged += ", but not flushed"
    end = "the server was killed" if finding.life[cut].text == KILLED else "a power cut"
    if removed := removals_before_read(finding.life, cut, at, seen):
        end += f", and after {removed[-1].text},"
    return f"{_named(write)} {acknowledged}; after {end} {place} {has}{_beside(finding)}"


def _zeroed_before(life: Sequence[Moment], finding: Finding) -> str:
    """Return the request that made a place zero before a change that is not there; "" for none."""
    last = next((one for one in reversed(life) if one.kind in ("write", "zero", "discard")), None)
    if last is None or last.kind == "write" or finding.part is not None:
        return ""
    start = finding.sector * SECTOR
    if last.offset > start or last.offset + last.length < start + SECTOR:
        return ""
    name = _named(last)
    return f"{name[:1].lower()}{name[1:]}, which came before"


def _after_end(life: Sequence[Moment], lost: int, seen: int | None) -> str:
    """Return what ended before a change was not there, as a part of a sentence; "" for nothing."""
    ends = ends_before_read(life, lost)
    mine = [one for one in ends if one.kind == "close" and one.lane == life[lost].lane]
    right = reads_that_returned(life, lost)
    before = "the read before that returned it" if right else "nothing read it before"
    if any(one.kind == "restart" for one in ends):
        return f" after the server was stopped in its normal way and started again ({before})"
    if changed := snapshots_before_read(life, lost, lost, seen):
        return f" after {removed_first(changed)[-1].text} ({before})"
    if mine or (ends and right):
        whose = "its connection" if mine else ends[-1].lane
        return f" after {whose} was closed ({before})"
    return ""


def _of_place(finding: Finding, text: str) -> str:
    """Return what is wrong with a place whose life names no request that did not hold.

    :param text: the place and what it has.
    """
    if beside := _beside(finding):
        return f"{text}{beside}"
    last = next(iter(finding.last_writes), None)
    is_older = finding.damage is Damage.MISDIRECTED  # the last write there is not to blame
    if (
        last is None
        and not finding.life
        and finding.expected is not None
        and finding.expected.what is What.ZEROES
    ):
        return f"{text}, and nothing was written there since the volume was made"
    if last is None or last.text == "prefill" or is_older:
        return text
    request = f"{last.text} #{last.number} {range_of(last.length, last.offset)}"
    later = (one.kind for one in takewhile(lambda one: one.number != last.number,
                                           reversed(finding.life)))  # fmt: skip
    return f"after {request}{' and a power cut' if 'cut' in later else ''}, {text}"


def _beside(finding: Finding) -> str:
    """Return which later discard a place lies beside, as the rest of a sentence; "" without one."""
    beside = next((line for line in finding.evidence if line.startswith(DISCARDED)), "")
    lies = "it lies" if finding.sectors == 1 else "they lie"
    return f"; {lies}{beside.removeprefix('it lies')}" if beside else ""


def _is_innocent(finding: Finding, write: Moment) -> bool:
    """Return whether the damage does not show that the last change of a place is not there."""
    return write.kind == "prefill" or finding.damage in (Damage.ALTERED, Damage.UNKNOWN)


def _untouched_since(write: Moment) -> str:
    """Return which change of a place was the last one, as the rest of a sentence."""
    if write.kind == "prefill":
        return ", and nothing was written there since the prefill"
    last = _named(write)
    return f"; the last request there was {last[:1].lower()}{last[1:]}"


def _named(write: Moment) -> str:
    name = _NAMES.get(write.kind, write.kind.capitalize())
    if write.kind == "prefill":
        return name
    number = f" #{write.number}" if write.number else ""
    fua = " with FUA" if write.fua else ""
    return f"{name}{number} {range_of(write.length, write.offset)}{fua}"


def _has(finding: Finding, *, is_one: bool) -> str:
    """Return what a place has, as the rest of a sentence whose subject is the place."""
    make = _STATES.get(finding.damage)
    if make is None:
        return f"{'is' if is_one else 'are'} wrong: {finding.text}"
    return make(finding, is_one)


def _never(finding: Finding, is_one: bool) -> str:  # noqa: ARG001
    return f"still {'has' if is_one else 'have'} the prefill"


def _lost(finding: Finding, is_one: bool) -> str:
    if finding.seen is None:
        return f"{'is' if is_one else 'are'} wrong: {finding.text}"
    seen = "the prefill" if str(finding.seen) == "prefill" else str(finding.seen)
    return f"still {'has' if is_one else 'have'} {seen}"


def _zeroed(finding: Finding, is_one: bool) -> str:
    if finding.part is None:
        new = ", as a new volume does" if is_as_new(finding) else ""
        return f"{'reads' if is_one else 'read'} as zeroes{new}"
    return f"{'has' if is_one else 'have'} zeroes at {_bytes(finding)}"


def _older(finding: Finding, is_one: bool) -> str:
    age = "newer" if finding.damage is Damage.NEWER else "older"
    part = "" if finding.part is None else f" at {_bytes(finding)}"
    verb = "has" if is_one else "have"
    return f"{verb} the {age} contents ({finding.seen or 'not known'}){part}"


def _torn(finding: Finding, is_one: bool) -> str:
    first, end = finding.part or (0, SECTOR)
    verb = "is" if is_one else "are"
    old, new = _content(finding.seen), _content(finding.expected)
    if (first, end) == (0, SECTOR):
        return f"{verb} torn: most bytes are {old}, and the others are {new}"
    if first == 0:
        return f"{verb} torn at byte {end}: the bytes before it are {old}, the others are {new}"
    if end == SECTOR:
        return f"{verb} torn at byte {first}: the bytes before it are {new}, the others are {old}"
    return f"{verb} torn: {_bytes(finding)} are {old}, and the others are {new}"


def _misdirected(finding: Finding, is_one: bool) -> str:
    verb = "has" if is_one else "have"
    if not finding.moved:
        sentence = finding.text.removeprefix("misdirected: ")
        if sentence.startswith(place := place_of(finding).partition(" (")[0]):
            return sentence.removeprefix(f"{place} ")
        return f"{verb} {finding.text}"
    part = "" if finding.part is None else f", at {_bytes(finding)},"
    seen = finding.seen
    whose = f"data of write #{seen.operation}" if seen and seen.operation else "data"
    whose = "the prefill" if seen and seen.generation == 0 else whose
    return f"{verb}{part} {whose} that belongs {_away(-finding.moved)}"


def _away(moved: int) -> str:
    distance, way = abs(moved), "higher" if moved > 0 else "lower"
    if distance % SECTOR:
        return f"{distance} bytes {way}"
    return f"{distance // SECTOR} sector{'s' if distance != SECTOR else ''} {way}"


def _flipped(finding: Finding, is_one: bool) -> str:
    return f"{'has' if is_one else 'have'} changed bits: {finding.text}"


def _foreign(finding: Finding, is_one: bool) -> str:
    verb, text = "has" if is_one else "have", finding.text
    if text.startswith("foreign volume "):
        return f"{verb} data of another volume {text.removeprefix('foreign volume ')}"
    if text.startswith("foreign run "):
        return f"{verb} data of an earlier run {text.removeprefix('foreign run ')}"
    return f"{'is' if is_one else 'are'} wrong: {text}"


def _altered(finding: Finding, is_one: bool) -> str:
    return f"{'has' if is_one else 'have'} other data at {_bytes(finding)}"


_STATES: dict[Damage, Callable[[Finding, bool], str]] = {
    Damage.NEVER_WRITTEN: _never,
    Damage.LOST: _lost,
    Damage.ZEROED: _zeroed,
    Damage.STALE: _older,
    Damage.NEWER: _older,
    Damage.TORN: _torn,
    Damage.MISDIRECTED: _misdirected,
    Damage.ALTERED: _altered,
    Damage.BIT_FLIP: _flipped,
    Damage.FOREIGN: _foreign,
}


def _bytes(finding: Finding) -> str:
    first, end = finding.part or (0, SECTOR)
    return f"byte {first}" if end - first == 1 else f"bytes {first} to {end - 1}"


def _content(content: Content | None) -> str:
    if content is None:
        return "the expected data"
    if content.what is What.STAMP and not content.generation:
        return "the prefill"
    return f"of {content}" if content.what in (What.STAMP, What.WRITE) else str(content)


def _in_units(length: int) -> str:
    for bits, unit in _UNITS:
        if length and length % (1 << bits) == 0:
            return f"{length >> bits} {unit}"
    return f"{length} bytes"


def _of_text(case: CaseEnded) -> str:
    """Return the verdict of a failure without a finding; "" if its text is not known."""
    cause = cause_of_case(case)
    if asked := _COMMAND.match(cause):
        kind = "write zeroes" if " -z " in cause or " -zu " in cause else asked["name"]
        return (
            f"{kind} {range_of(int(asked['length']), int(asked['offset']))} failed: {asked['why']}"
        )
    if differs := _OUTPUT.match(cause):
        return output_difference(case, differs[1], differs[2])
    if fio := _FIO.search(case.message):
        what = "zeroes" if fio["magic"] == "0" else "data that is not of fio"
        seen = (
            f"fio in a guest wrote {fio['length']} bytes at offset {fio['offset']} of"
            f" {fio['file']}, and then read {what} there"
        )
        again = next((line for line in _evidence(case) if line.startswith("read again")), "")
        if again:
            return f"{seen}; {again}"
        return (
            f"{seen}. The block was read once: the write is"
            " lost if a second read, over a new connection, returns the same, and the read is"
            " wrong if it returns the data"
        )
    if lost := _LOST_FILES.search(case.message):
        files = lost["files"].replace("LOST ", "")
        return (
            f"{lost['kind']} in a guest had synced {files}, and after a power cut of QEMU"
            " they are not there. A write or a flush that was acknowledged did not last, or the"
            " read after the cut is wrong: a second read of the volume decides between them"
        )
    return ""


def _evidence(case: CaseEnded) -> tuple[str, ...]:
    finding = main_finding(case.findings)
    return finding.evidence if finding else ()

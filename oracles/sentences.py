"""The sentence of a finding: what is wrong, in words, without the place."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from oracles.damage import Content, Damage, What
from oracles.stamps import SECTOR

if TYPE_CHECKING:
    from oracles.finding import Finding

_WRAPS = {31: "2 GiB", 32: "4 GiB", 40: "1 TiB", 41: "2 TiB", 44: "16 TiB"}
"""Distances at which an offset or a sector number loses its highest bits."""


def sentence(finding: Finding) -> str:
    """Return what is wrong, in words, without the place."""
    if finding.damage is Damage.NOT_LINEARIZABLE and finding.remark:
        return f"{finding.damage.value}: {finding.remark}"
    if finding.remark:
        return finding.remark
    make = _SENTENCES.get(finding.damage)
    if make is not None:
        return make(finding)
    return f"{finding.damage.value}{_expected(finding)}"


def _expected(finding: Finding) -> str:
    return f", expected {finding.expected}" if finding.expected else ""


def _zeroed(finding: Finding) -> str:
    if finding.part is None:
        return f"zeroed{_expected(finding)}"
    first, end = finding.part
    where = f"{finding.count} bytes from byte {first} to {end - 1} of the sector"
    if end - first == 1:
        where = f"byte {first} of the sector"
    return f"zeroed in part: {where}{_expected(finding)}"


def _bytes(first: int, end: int) -> str:
    return f"byte {first}" if end - first == 1 else f"bytes {first} to {end - 1}"


def _are(first: int, end: int) -> str:
    return "is" if end - first == 1 else "are"


def _aged(finding: Finding) -> str:
    """Describe an older or a newer write."""
    word, seen, expected = finding.damage.value, finding.seen, finding.expected
    if seen is None:
        return f"{word}{_expected(finding)}"
    if _is_version(seen) and expected is not None and _is_version(expected):
        return f"{word} ({seen}, expected {expected.generation} by write #{expected.operation})"
    is_write = _is_version(seen) or seen.what is What.WRITE
    if finding.damage is Damage.STALE and is_write and finding.part is None:
        return f"{word} (write #{seen.operation} still there{_expected(finding)})"
    return f"{word} ({seen}{_expected(finding)})"


def _is_version(content: Content) -> bool:
    return content.what is What.STAMP and bool(content.generation)


def _other_write(finding: Finding) -> str:
    seen, expected = finding.seen, finding.expected
    if seen is None or expected is None:
        return f"other write{_expected(finding)}"
    wanted = f"expected #{expected.operation} by writer {expected.writer}"
    return f"other write (#{seen.operation} by writer {seen.writer}, {wanted})"


def _misdirected(finding: Finding) -> str:
    seen = finding.seen
    if finding.moved is None:
        return f"{seen}, which was not written there"
    hint = ""
    if finding.moved and finding.moved % (1 << 32) == 0:
        hint = ": a multiple of 4 GiB, like an offset cut off to 32 bits"
    for bits, distance in _WRAPS.items():
        if abs(finding.moved) == 1 << bits:
            hint = f": {distance} too {'high' if finding.moved > 0 else 'low'}"
            if bits > 32:
                hint += ", a multiple of 4 GiB"
    by = f"write #{seen.operation}" if seen and seen.generation else "the prefill"
    if finding.part is not None:
        where = f"{_bytes(*finding.part)} of the sector {_are(*finding.part)} misdirected"
        return f"{where} ({finding.moved // SECTOR:+d} sectors{hint}, by {by})"
    return f"misdirected ({finding.moved // SECTOR:+d} sectors{hint}, by {by})"


def _foreign(finding: Finding) -> str:
    seen, expected = finding.seen, finding.expected
    if seen is None or seen.run is None or seen.volume is None:
        return f"foreign data{_expected(finding)}"
    what = "volume" if expected is not None and seen.run == expected.run else "run"
    name = f"{seen.text}, " if seen.text else ""
    numbers = f"run {seen.run:#x}, volume {seen.volume:#x}, its write #{seen.operation}"
    return f"foreign {what} ({name}{numbers})"


def _torn(finding: Finding) -> str:
    new = "the expected data" if finding.expected is None else str(finding.expected)
    if finding.expected is not None and finding.expected.what is What.ZEROES:
        new = "the expected data"
    first, end = finding.part or (0, SECTOR)
    if (first, end) == (0, SECTOR):
        return f"most of the sector is {finding.seen}, expected {new}"
    if first == 0:
        return f"torn at byte {end}: first {finding.seen}, then {new}"
    if end == SECTOR:
        return f"torn at byte {first}: first {new}, then {finding.seen}"
    return f"torn: {_bytes(first, end)} {_are(first, end)} {finding.seen}, rest {new}"


def _flipped(finding: Finding) -> str:
    first = finding.part[0] if finding.part else 0
    difference = finding.difference
    if finding.count == 1 and difference and difference.seen and difference.expected:
        bit = (difference.seen[0] ^ difference.expected[0]).bit_length() - 1
        return f"bit flip at byte {first} of the sector (bit {bit})"
    if finding.count == 1:
        return f"bit flip at byte {first} of the sector"
    return f"{finding.count} bit flips, first at byte {first} of the sector"


def _altered(finding: Finding) -> str:
    return f"{_bytes(*(finding.part or (0, SECTOR)))} of the sector altered"


def _shifted(finding: Finding) -> str:
    by = f"shifted by {finding.moved or 0:+d} bytes"
    return by if finding.part is None else f"a part of the sector is {by}"


def _unknown(finding: Finding) -> str:
    if finding.seen is None:
        return f"wrong; not examined closely, after {finding.count} others"
    if finding.seen.what is not What.DATA:
        return f"{finding.seen} where {finding.expected} is expected"
    what = f"uninitialised or unknown data{_expected(finding)}"
    if finding.part is None:
        return what
    return f"{_bytes(*finding.part)} of the sector {_are(*finding.part)} {what}"


def _error(finding: Finding) -> str:
    seen, expected = finding.seen, finding.expected
    if finding.side:
        ours, theirs = (seen, expected) if finding.side == "reference" else (expected, seen)
        return f"reference: {ours}; target: {theirs}"
    return f"{seen}{_expected(finding)}"


def _size(finding: Finding) -> str:
    wanted = finding.expected.number if finding.expected else None
    return f"{finding.seen}, not {wanted}"


def _length(finding: Finding) -> str:
    wanted = finding.expected.number if finding.expected else None
    return f"{finding.seen} returned, {wanted} requested"


def _status(finding: Finding) -> str:
    there = finding.difference.expected.hex(" ", 4) if finding.difference else finding.expected
    return f"said to read as zeroes, expected {there}"


_SENTENCES: dict[Damage, Callable[[Finding], str]] = {
    Damage.ZEROED: _zeroed,
    Damage.STALE: _aged,
    Damage.NEWER: _aged,
    Damage.NEVER_WRITTEN: lambda f: f"never written: prefill still there{_expected(f)}",
    Damage.OTHER_WRITE: _other_write,
    Damage.MISDIRECTED: _misdirected,
    Damage.SWAPPED: lambda f: f"swapped with the sector {(f.moved or 0) // SECTOR:+d} away",
    Damage.FOREIGN: _foreign,
    Damage.TORN: _torn,
    Damage.BIT_FLIP: _flipped,
    Damage.ALTERED: _altered,
    Damage.SHIFTED: _shifted,
    Damage.TRUNCATED: lambda f: f"truncated ({f.length} bytes missing)",
    Damage.UNKNOWN: _unknown,
    Damage.ERROR: _error,
    Damage.SIZE: _size,
    Damage.LENGTH: _length,
    Damage.STATUS: _status,
}

"""One sector that is no whole stamp: zeroed, moved by bytes, bits flipped, torn, or unknown."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable

import numpy as np

from oracles.stamps import (
    HEADER_BYTES,
    HEADER_WORDS,
    MAGIC,
    SECTOR,
    Header,
    fill_keys,
    header_keys,
    header_of,
    sector_words,
    sound,
    stamp,
)

Candidates = Callable[[int], Iterable[Header]]
"""Gives the headers of stamps that a sector held at some time."""


class Damage(enum.Enum):
    """Kinds of damage. The value is the word that reports use."""

    ZEROED = "zeroed"
    STALE = "stale"
    """An older generation: a write was lost, or a cache served old data."""
    NEWER = "newer"
    """A later generation than expected: a snapshot or a backup that follows its source."""
    NEVER_WRITTEN = "never written"
    """What the disk was prefilled with is still there."""
    OTHER_WRITE = "other write"
    MISDIRECTED = "misdirected"
    SWAPPED = "swapped"
    FOREIGN = "foreign"
    """Data of another volume or another run."""
    TORN = "torn"
    """One part of the sector from one write, the rest from another."""
    BIT_FLIP = "bit flip"
    ALTERED = "altered"
    """A few neighbouring bytes changed."""
    SHIFTED = "shifted"
    TRUNCATED = "truncated"
    UNKNOWN = "unknown"


_PROBE = 16
"""Bytes of the right data that must be found elsewhere to call it shifted; chance: 2^-128."""
_FEW = 8
"""Up to so many neighbouring bytes changed are called altered, not torn."""


def describe_bytes(data: bytes) -> str:
    """Say in a few words what bytes are: zeroes, a pattern, a stamp, or just data."""
    if not data.strip(b"\0"):
        return "zeroes"
    if data == data[:1] * len(data):
        return f"pattern 0x{data[0]:02x}"
    if len(data) == SECTOR and data.startswith(MAGIC):
        words = sector_words(data)
        if sound(words)[0]:
            return named(header_of(words[0]))
    return "other data"


def judge_unsound(
    seen: bytes,
    wanted: bytes,
    low: int,
    sector: int,
    headers: list[Header],
) -> tuple[Damage, str]:
    """Name the damage of one sector, or of a part of it, that holds no whole stamp.

    :param low: where ``seen`` and ``wanted``, equally long, begin within the sector.
    :param headers: of stamps that the sector held at some time.
    """
    if not seen.strip(b"\0"):
        return Damage.ZEROED, f"zeroed, expected {describe_bytes(wanted)}"
    whole = _match_candidate(seen, low, sector, headers)
    if whole:
        return Damage.STALE, f"stale ({whole}, expected {describe_bytes(wanted)})"
    return (
        _judge_shift(seen, wanted, sector)
        or _judge_flip(seen, wanted, low)
        or _judge_tear(seen, wanted, low, sector, headers)
        or _judge_zeroed_parts(seen, wanted, low)
        or (Damage.UNKNOWN, _unknown(seen, wanted, low))
    )


def _unknown(seen: bytes, wanted: bytes, low: int) -> str:
    what = describe_bytes(seen)
    expected = describe_bytes(wanted)
    if what != "other data":
        return f"{what} where {expected} is expected"
    places = _different(seen, wanted)
    if len(places) == 1 or places[-1] - places[0] + 1 == len(seen):
        return f"uninitialised or unknown data, expected {expected}"
    part = f"bytes {low + places[0]} to {low + places[-1]} of the sector"
    return f"{part} are uninitialised or unknown data, expected {expected}"


def _match_candidate(seen: bytes, low: int, sector: int, headers: Iterable[Header]) -> str:
    """Return which earlier stamp a part of a sector comes from; empty where none fits."""
    for header in headers:
        old = _bytes_of(header, sector)[low : low + len(seen)]
        if old == seen:
            return named(header)
    return ""


def _bytes_of(header: Header, sector: int) -> bytes:
    made = stamp(sector * SECTOR, SECTOR, header.identity, header.generation, header.operation)
    return made.tobytes()


def named(header: Header) -> str:
    """Say which write made a stamp."""
    if header.generation == 0:
        return "prefill"
    return f"generation {header.generation} by write #{header.operation}"


def _judge_shift(seen: bytes, wanted: bytes, sector: int) -> tuple[Damage, str] | None:
    """Find the right data some bytes further on or back, or a stamp that starts within."""
    probe = wanted[:_PROBE]
    moved = seen.find(probe) if len(set(probe)) > 1 else -1
    if moved > 0 and seen[moved:] == wanted[: len(seen) - moved]:
        return Damage.SHIFTED, f"shifted by {moved:+d} bytes"
    probe = seen[:_PROBE]
    moved = wanted.find(probe) if len(set(probe)) > 1 else -1
    if moved > 0 and seen[: len(seen) - moved] == wanted[moved:]:
        return Damage.SHIFTED, f"shifted by {-moved:+d} bytes"
    moved_by = moved_stamp(seen, sector)
    return (Damage.SHIFTED, moved_by) if moved_by else _judge_moved_part(seen, wanted)


def _judge_moved_part(seen: bytes, wanted: bytes) -> tuple[Damage, str] | None:
    """Find a part of the right data elsewhere in the sector: an unaligned write was rounded."""
    first = _different(seen, wanted)[0]
    for moved_to, where, sign in ((seen, wanted, -1), (wanted, seen, 1)):
        probe = moved_to[first : first + _PROBE]
        place = where.find(probe) if len(probe) == _PROBE and len(set(probe)) > 1 else -1
        if place >= 0:
            by = sign * (place - first)
            return Damage.SHIFTED, f"a part of the sector is shifted by {by:+d} bytes"
    return None


def moved_stamp(seen: bytes, sector: int) -> str:
    """Say by how many bytes a stamp is shifted that begins within a sector; empty: none does."""
    start = seen.find(MAGIC, 1)
    if start > 0 and len(seen) == SECTOR and start + HEADER_BYTES <= SECTOR:
        row = np.zeros(SECTOR, dtype=np.uint8)
        row[: SECTOR - start] = np.frombuffer(seen[start:], dtype=np.uint8)
        words = sector_words(row)
        agree = fill_keys(words)[0] == header_keys(words)[0]
        usable = (SECTOR - start) // 8 - HEADER_WORDS
        if usable > 0 and agree[:usable].all():
            by = (sector - int(words[0, 2])) * SECTOR + start
            return f"shifted by {by:+d} bytes"
    return ""


def _judge_flip(seen: bytes, wanted: bytes, low: int) -> tuple[Damage, str] | None:
    places = _different(seen, wanted)
    first, last = places[0], places[-1]
    if first == last:
        bits = seen[first] ^ wanted[first]
        if bits & (bits - 1) == 0:
            bit = bits.bit_length() - 1
            return Damage.BIT_FLIP, f"bit flip at byte {low + first} of the sector (bit {bit})"
    if last - first < _FEW:
        return Damage.ALTERED, f"bytes {low + first} to {low + last} of the sector altered"
    flipped = sum((seen[i] ^ wanted[i]).bit_count() for i in places)
    if flipped == len(places) and flipped <= _FEW:
        return Damage.BIT_FLIP, f"{flipped} bit flips, first at byte {low + first} of the sector"
    return None


def _different(seen: bytes, wanted: bytes) -> list[int]:
    return [i for i, (a, b) in enumerate(zip(seen, wanted, strict=True)) if a != b]


def _judge_tear(
    seen: bytes, wanted: bytes, low: int, sector: int, headers: list[Header]
) -> tuple[Damage, str] | None:
    """Recognise a sector of which one part is right, and the rest comes from one other source."""
    sources = {"zeroes": bytes(len(seen)), f"pattern 0x{seen[-1]:02x}": seen[-1:] * len(seen)}
    sources[f"pattern 0x{seen[0]:02x}"] = seen[:1] * len(seen)
    for header in headers:
        sources[named(header)] = _bytes_of(header, sector)[low : low + len(seen)]
    new = "the expected data" if not wanted.strip(b"\0") else describe_bytes(wanted)
    for name, source in sources.items():
        places = _different(seen, wanted)
        first, end = places[0], places[-1] + 1
        if seen[first:end] != source[first:end]:
            continue
        rests = _different(seen, source)
        if not rests:
            continue
        if rests[-1] < first:
            return Damage.TORN, f"torn at byte {low + first}: first {new}, then {name}"
        if rests[0] >= end:
            return Damage.TORN, f"torn at byte {low + end}: first {name}, then {new}"
        return Damage.TORN, f"torn: bytes {low + first} to {low + end - 1} are {name}, rest {new}"
    return _tear_by_keys(seen, wanted, low, new)


def _judge_zeroed_parts(seen: bytes, wanted: bytes, low: int) -> tuple[Damage, str] | None:
    """Recognise zeroes in several parts, between which later writes have left the right data."""
    places = _different(seen, wanted)
    if len(places) < _PROBE or any(seen[i] for i in places):
        return None
    where = f"{len(places)} bytes from byte {low + places[0]} to {low + places[-1]} of the sector"
    return Damage.ZEROED, f"zeroed in part: {where}, expected {describe_bytes(wanted)}"


def _tear_by_keys(seen: bytes, wanted: bytes, low: int, new: str) -> tuple[Damage, str] | None:
    """Recognise a part of a stamp that no record names: its fill has one key throughout."""
    if len(seen) != SECTOR or low:
        return None
    row = sector_words(seen)
    keys = fill_keys(row)[0]
    places = _different(seen, wanted)
    first, end = places[0], places[-1] + 1
    strange = keys[max(-(-first // 8) - HEADER_WORDS, 0) : max(end // 8 - HEADER_WORDS, 0)]
    if len(strange) < 2 or not (strange == strange[0]).all():
        return None
    whose = "another write"
    if header_keys(row)[0] == strange[0]:
        whose = named(header_of(row[0]))
    if end < SECTOR:
        return Damage.TORN, f"torn at byte {end}: first {whose}, then {new}"
    return Damage.TORN, f"torn at byte {first}: first {new}, then {whose}"

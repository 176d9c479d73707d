"""One sector that is no whole stamp: zeroed, moved by bytes, bits flipped, torn, or unknown."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

import numpy as np

from oracles.damage import Confidence, Content, Damage, What
from oracles.finding import Finding
from oracles.stamps import (
    HEADER_BYTES,
    HEADER_WORDS,
    MAGIC,
    SECTOR,
    Header,
    fill_keys,
    fragment_in,
    header_keys,
    header_of,
    sector_words,
    sound,
    stamp,
)

Candidates = Callable[[int], Iterable[Header]]
"""Gives the headers of stamps that a sector held at some time."""

Finder = Callable[[int], Header | None]
"""Gives the header of the stamp whose fill has a key; None if nobody wrote it."""

_PROBE = 16
"""Bytes of the right data that must be found elsewhere to call it shifted; a coincidence has a
probability of 2^-128."""
_BEYOND_HEADER = 48
"""Bytes of a part that must agree: all stamps of a volume begin with the same 16 bytes."""
_FEW = 8
"""Up to this many neighbouring bytes that changed are called altered, not torn."""


def version_of(header: Header) -> Content:
    """Return whose data a stamp is."""
    return Content(
        What.STAMP, header.generation, header.operation, header.writer, header.run, header.volume
    )


def content_of(data: bytes) -> Content:
    """Return what bytes are: zeroes, a pattern, a stamp, or other data."""
    if not data.strip(b"\0"):
        return Content(What.ZEROES)
    if data == data[:1] * len(data):
        return Content(What.PATTERN, number=data[0])
    if len(data) == SECTOR and data.startswith(MAGIC):
        words = sector_words(data)
        if sound(words)[0]:
            return version_of(header_of(words[0]))
    return Content(What.DATA)


def judge_unsound(
    seen: bytes,
    wanted: bytes,
    low: int,
    sector: int,
    headers: list[Header],
) -> Finding:
    """Name the damage of one sector, or of a part of it, that holds no whole stamp.

    :param low: where ``seen`` and ``wanted``, equally long, begin within the sector.
    :param headers: of stamps that the sector held at some time.
    :return: a finding without a place and without the first difference.
    """
    expected = content_of(wanted)
    if not seen.strip(b"\0"):
        return Finding(Damage.ZEROED, expected=expected, seen=Content(What.ZEROES))
    older = _match_candidate(seen, low, sector, headers)
    if older:
        part = low, low + len(seen)
        return Finding(Damage.STALE, expected=expected, seen=older, part=part)
    return (
        _judge_shift(seen, wanted, sector)
        or judge_flip(seen, wanted, low)
        or _judge_tear(seen, wanted, low, sector, headers)
        or _judge_zeroed_parts(seen, wanted, low)
        or _unknown(seen, wanted, low)
    )


def judge_strange(
    seen: bytes, wanted: bytes, low: int, sector: int, finder: Finder
) -> Finding | None:
    """Recognise, in data that fits nothing else, a part of a stamp that was written elsewhere.

    :param low: where ``seen`` and ``wanted`` begin within the sector.
    :param finder: gives the header of the stamp of a key, from all stamps of the volume.
    :return: a finding without a place; None if there is no part of a stamp.
    """
    places = _different(seen, wanted)
    first, end = places[0], places[-1] + 1
    found = fragment_in(seen[first:end])
    if found is None:
        return None
    part = (low + first, low + end)
    is_whole = part == (0, SECTOR)
    place = low + first + found.at - found.source
    header = finder(found.key)
    expected = content_of(wanted)
    if header is None:  # of another volume or run, or too old; its place within a sector is known
        if place % SECTOR == 0:
            return None
        return Finding(
            Damage.SHIFTED,
            expected=expected,
            part=part,
            confidence=Confidence.LIKELY,
            remark="a part of the sector is a stamp of an unknown write, at a wrong place",
        )
    moved = (sector - header.lba) * SECTOR + place
    version = version_of(header)
    if moved == 0:
        return Finding(Damage.STALE, expected=expected, seen=version, part=part)
    damage = Damage.SHIFTED if moved % SECTOR else Damage.MISDIRECTED
    return Finding(
        damage,
        expected=expected,
        seen=version,
        moved=moved,
        part=None if is_whole else part,
        evidence=(f"the data belongs to sector {header.lba}, and is found at sector {sector}",),
    )


def _unknown(seen: bytes, wanted: bytes, low: int) -> Finding:
    places = _different(seen, wanted)
    is_whole = len(places) == 1 or places[-1] - places[0] + 1 == len(seen)
    return Finding(
        Damage.UNKNOWN,
        expected=content_of(wanted),
        seen=content_of(seen),
        part=None if is_whole else (low + places[0], low + places[-1] + 1),
        confidence=Confidence.UNKNOWN,
    )


def _match_candidate(
    seen: bytes, low: int, sector: int, headers: Iterable[Header]
) -> Content | None:
    """Return the earlier stamp of which a part of a sector is left; None where none fits."""
    for header in headers:
        old = _bytes_of(header, sector)[low : low + len(seen)]
        if old == seen:
            return version_of(header)
    return None


def _bytes_of(header: Header, sector: int) -> bytes:
    made = stamp(sector * SECTOR, SECTOR, header.identity, header.generation, header.operation)
    return made.tobytes()


def _judge_shift(seen: bytes, wanted: bytes, sector: int) -> Finding | None:
    """Find the right data some bytes further on or back, or a stamp that starts within.

    Data that repeats itself is everywhere by right: it is shifted only where it does not belong.
    """
    expected = content_of(wanted)
    probe = wanted[:_PROBE]
    moved = seen.find(probe) if len(set(probe)) > 1 else -1
    if moved > 0 and seen[moved:] == wanted[: len(seen) - moved] != wanted[moved:]:
        return Finding(Damage.SHIFTED, expected=expected, moved=moved)
    probe = seen[:_PROBE]
    moved = wanted.find(probe) if len(set(probe)) > 1 else -1
    kept = len(seen) - moved
    if moved > 0 and wanted[:kept] != seen[:kept] == wanted[moved:]:
        return Finding(Damage.SHIFTED, expected=expected, moved=-moved)
    found = moved_stamp(seen, sector)
    if found is not None and found != moved_stamp(wanted, sector):  # else it is there by right
        return Finding(Damage.SHIFTED, expected=expected, moved=found)
    return _judge_moved_part(seen, wanted)


def _judge_moved_part(seen: bytes, wanted: bytes) -> Finding | None:
    """Find a part of the right data elsewhere in the sector: an unaligned write was rounded."""
    places = _different(seen, wanted)
    first = places[0]
    for moved_to, where, sign in ((seen, wanted, -1), (wanted, seen, 1)):
        probe = moved_to[first : first + _PROBE]
        place = where.find(probe) if len(probe) == _PROBE and len(set(probe)) > 1 else -1
        length = min(_BEYOND_HEADER, places[-1] + 1 - first, SECTOR - place)
        part = moved_to[first : first + length]
        is_by_right = where is seen and wanted[place : place + length] == part
        if place >= 0 and part == where[place : place + length] and not is_by_right:
            return Finding(
                Damage.SHIFTED,
                expected=content_of(wanted),
                moved=sign * (place - first),
                part=(first, places[-1] + 1),
                confidence=Confidence.LIKELY,
            )
    return None


def moved_stamp(seen: bytes, sector: int) -> int | None:
    """Return by how many bytes a stamp is shifted that begins within a sector; None without one."""
    start = seen.find(MAGIC, 1)
    if start > 0 and len(seen) == SECTOR and start + HEADER_BYTES <= SECTOR:
        row = np.zeros(SECTOR, dtype=np.uint8)
        row[: SECTOR - start] = np.frombuffer(seen[start:], dtype=np.uint8)
        words = sector_words(row)
        agree = fill_keys(words)[0] == header_keys(words)[0]
        usable = (SECTOR - start) // 8 - HEADER_WORDS
        if usable > 0 and agree[:usable].all():
            return (sector - int(words[0, 2])) * SECTOR + start
    return None


def judge_flip(seen: bytes, wanted: bytes, low: int) -> Finding | None:
    """Recognise a few changed bits or neighbouring bytes; see `judge_unsound`."""
    places = _different(seen, wanted)
    first, last = places[0], places[-1]
    part = low + first, low + last + 1
    flipped = sum((seen[i] ^ wanted[i]).bit_count() for i in places)
    expected = content_of(wanted)
    likely = Confidence.LIKELY
    if flipped == 1:
        # Most of the data of another place may be zeroes as well.
        sure = Confidence.CERTAIN if any(wanted) else likely
        return Finding(Damage.BIT_FLIP, expected=expected, part=part, count=1, confidence=sure)
    if last - first < _FEW:
        return Finding(Damage.ALTERED, expected=expected, part=part, confidence=likely)
    if flipped == len(places) and flipped <= _FEW:
        return Finding(
            Damage.BIT_FLIP, expected=expected, part=part, count=flipped, confidence=likely
        )
    return None


def _different(seen: bytes, wanted: bytes) -> list[int]:
    return [i for i, (a, b) in enumerate(zip(seen, wanted, strict=True)) if a != b]


def _judge_tear(
    seen: bytes, wanted: bytes, low: int, sector: int, headers: list[Header]
) -> Finding | None:
    """Recognise a sector of which one part is right, and the rest comes from one other source."""
    zeroes = Content(What.ZEROES)
    sources = {zeroes: bytes(len(seen))}
    for byte in (seen[-1], seen[0]):
        sources[Content(What.PATTERN, number=byte)] = bytes([byte]) * len(seen)
    for header in headers:
        sources[version_of(header)] = _bytes_of(header, sector)[low : low + len(seen)]
    expected = content_of(wanted)
    for content, source in sources.items():
        places = _different(seen, wanted)
        first, end = places[0], places[-1] + 1
        if seen[first:end] != source[first:end]:
            continue
        rests = _different(seen, source)
        if not rests:
            continue
        known = content.what is What.STAMP
        confidence = Confidence.CERTAIN if known else Confidence.LIKELY
        part = low + first, low + end
        if rests[-1] < first:
            part = low + first, SECTOR
        elif rests[0] >= end:
            part = 0, low + end
        return Finding(
            Damage.TORN, expected=expected, seen=content, part=part, confidence=confidence
        )
    return _tear_by_keys(seen, wanted, low, expected) or _tear_of_two(seen, low, sources, expected)


def _tear_of_two(
    seen: bytes, low: int, sources: Mapping[Content, bytes], expected: Content
) -> Finding | None:
    """Recognise a sector that begins as one source and ends as another, neither of them expected.

    After a crash a sector may hold any of several contents; the expected one is the most likely.
    """
    size = len(seen)
    whole = {key: data for key, data in sources.items() if key.what is not What.PATTERN}
    begins = {key: _common(seen, data) for key, data in whole.items()}
    ends = {key: _common(seen[::-1], data[::-1]) for key, data in whole.items()}
    first, then = max(begins, key=begins.__getitem__), max(ends, key=ends.__getitem__)
    cut = begins[first]
    if first == then or cut + ends[then] < size or min(cut, ends[then]) < _PROBE:
        return None
    return Finding(
        Damage.TORN,
        expected=expected,
        seen=then,
        part=(low + cut, low + size),
        confidence=Confidence.LIKELY,
        remark=f"torn at byte {low + cut}: first {first}, then {then}, expected {expected}",
    )


def _common(one: bytes, other: bytes) -> int:
    """Return how many bytes at the start are equal."""
    return next((i for i, (a, b) in enumerate(zip(one, other, strict=True)) if a != b), len(one))


def _judge_zeroed_parts(seen: bytes, wanted: bytes, low: int) -> Finding | None:
    """Recognise zeroes in several parts, between which later writes have left the right data."""
    places = _different(seen, wanted)
    if len(places) < _PROBE or any(seen[i] for i in places):
        return None
    return Finding(
        Damage.ZEROED,
        expected=content_of(wanted),
        part=(low + places[0], low + places[-1] + 1),
        count=len(places),
        confidence=Confidence.LIKELY,
    )


def _tear_by_keys(seen: bytes, wanted: bytes, low: int, expected: Content) -> Finding | None:
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
    other = Content(What.OTHER_WRITE)
    if header_keys(row)[0] == strange[0]:
        other = version_of(header_of(row[0]))
    part = (0, end) if end < SECTOR else (first, SECTOR)
    return Finding(
        Damage.TORN, expected=expected, seen=other, part=part, confidence=Confidence.LIKELY
    )


def of_unwritten(finding: Finding) -> Finding:
    """Return a bit flip as unknown data where nobody wrote: nothing proves that a bit flipped.

    The data of another place may be zeroes but for one bit.
    """
    is_zeroes = finding.expected is not None and finding.expected.what is What.ZEROES
    if finding.damage is not Damage.BIT_FLIP or finding.last_writes or not is_zeroes:
        return finding
    difference = finding.difference
    seen = "" if difference is None or not difference.seen else f" is {difference.seen[0]:#04x}"
    at = finding.part[0] if finding.part else 0
    return replace(
        finding,
        damage=Damage.UNKNOWN,
        seen=Content(What.DATA),
        confidence=Confidence.UNKNOWN,
        remark=f"not zero: byte {at} of the sector{seen}, a flipped bit or data of another place",
    )

"""The permitted contents of a volume: bytes, and sets of bytes where several contents are right.

The contents are sparse: 64 KiB chunks exist only where something other than zeroes was written, so
the memory of a volume of 2^63-1 bytes depends on what was written. Where a sector may hold one of
several contents, all of them are kept as whole sectors. More than 64 of them count as "anything":
then the sector is not judged.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np
from numpy.typing import NDArray

from oracles.stamps import SECTOR, Bytes

CHUNK = 64 << 10
"""Bytes of a chunk: small enough for scattered writes, large enough for fast comparison."""
MOST_STATES = 64
"""A sector with more permitted contents than this may hold anything."""
_MOST_ORDERS = 4
"""Up to this many overlapping writes in flight are tried in all orders (4! = 24)."""

States = frozenset[bytes] | None
"""All contents that a sector may have, 512 bytes each; None: the sector may hold anything."""

_ZEROES = np.zeros(CHUNK, dtype=np.uint8)
_ZEROES.flags.writeable = False


@dataclass(frozen=True, eq=False)
class Change:
    """The effect of one request on ``[offset, offset + length)``: bytes, or one repeated byte.

    ``maybe``: it is not known, sector by sector, whether it happened. ``fua``: it is durable once
    it is acknowledged.
    """

    offset: int
    length: int
    data: Bytes | None = None
    fill: int = 0
    maybe: bool = False
    fua: bool = False

    def at(self, start: int, end: int) -> Bytes | int:
        """Return what the change writes to ``[start, end)`` of the volume, within its range."""
        if self.data is None:
            return self.fill
        return self.data[start - self.offset : end - self.offset]

    def covers(self, start: int, end: int) -> bool:
        """Return whether all of ``[start, end)`` is changed."""
        return self.offset <= start and end <= self.offset + self.length

    def touches(self, start: int, end: int) -> bool:
        """Return whether any byte of ``[start, end)`` is changed."""
        return self.offset < end and start < self.offset + self.length

    def clipped(self, size: int) -> Change | None:
        """Return the part of the change that is within a volume of that size; None without one."""
        length = min(self.length, size - self.offset)
        if length <= 0:
            return None
        data = None if self.data is None else self.data[:length]
        return Change(self.offset, length, data, self.fill, self.maybe, self.fua)

    def on_sector(self, sector: int, old: bytes) -> bytes:
        """Return the contents of a sector after the change."""
        begin = sector * SECTOR
        start = max(self.offset, begin)
        end = min(self.offset + self.length, begin + SECTOR)
        put = self.at(start, end)
        new = bytes([put]) * (end - start) if isinstance(put, int) else put.tobytes()
        return old[: start - begin] + new + old[end - begin :]


class Chunk:
    """64 KiB of a volume: the most likely bytes, and all contents of ambiguous sectors."""

    __slots__ = ("choices", "data")

    def __init__(self, data: Bytes, choices: dict[int, States]) -> None:
        self.data = data
        self.choices = choices

    def copy(self) -> Chunk:
        """Return an independent copy."""
        return Chunk(self.data.copy(), dict(self.choices))


class Contents:
    """The permitted contents of one volume. Offsets and lengths in bytes, sectors of 512."""

    def __init__(self) -> None:
        self.chunks: dict[int, Chunk] = {}

    def copy(self) -> Contents:
        """Return an independent copy."""
        other = Contents()
        other.chunks = {number: chunk.copy() for number, chunk in self.chunks.items()}
        return other

    def pieces(
        self, start: int, end: int, existing: bool = False
    ) -> Iterator[tuple[int, int, int]]:
        """Split ``[start, end)`` at chunks: (chunk number, start, end).

        :param existing: leave out chunks that do not exist.
        """
        inside = range(start // CHUNK, (end + CHUNK - 1) // CHUNK)
        numbers: Iterable[int] = inside
        if existing:
            if len(self.chunks) < end // CHUNK - start // CHUNK:
                numbers = sorted(number for number in self.chunks if number in inside)
            else:
                numbers = [number for number in inside if number in self.chunks]
        for number in numbers:
            yield number, max(start, number * CHUNK), min(end, (number + 1) * CHUNK)

    def data_at(self, number: int, start: int, end: int) -> Bytes:
        """Return a view of the most likely bytes of ``[start, end)``, within one chunk."""
        chunk = self.chunks.get(number)
        data = chunk.data if chunk else _ZEROES
        return data[start - number * CHUNK : end - number * CHUNK]

    def chunk(self, number: int) -> Chunk:
        """Return a chunk to write to; make it if it does not exist."""
        chunk = self.chunks.get(number)
        if chunk is None:
            chunk = self.chunks[number] = Chunk(np.zeros(CHUNK, dtype=np.uint8), {})
        return chunk

    def states(self, sector: int) -> States:
        """Return every content that a sector may have."""
        number, row = divmod(sector, CHUNK // SECTOR)
        chunk = self.chunks.get(number)
        if chunk is None:
            return frozenset((bytes(SECTOR),))
        if sector in chunk.choices:
            return chunk.choices[sector]
        return frozenset((chunk.data[row * SECTOR : (row + 1) * SECTOR].tobytes(),))

    def set_states(self, sector: int, states: States) -> None:
        """Permit exactly these contents of a sector."""
        number, row = divmod(sector, CHUNK // SECTOR)
        chunk = self.chunk(number)
        if states is not None and len(states) > MOST_STATES:
            states = None
        place = slice(row * SECTOR, (row + 1) * SECTOR)
        if states is not None and chunk.data[place].tobytes() not in states:
            chunk.data[place] = np.frombuffer(min(states), dtype=np.uint8)
        if states is None or len(states) > 1:
            chunk.choices[sector] = states
        else:
            chunk.choices.pop(sector, None)

    def apply(self, change: Change, maybe: bool = False) -> None:
        """Make a change; with ``maybe`` each sector holds its old or its new contents."""
        start, end = change.offset, change.offset + change.length
        only_existing = change.data is None and change.fill == 0
        for number, low, high in self.pieces(start, end, existing=only_existing):
            if maybe or change.maybe:
                self._apply_maybe(change, low, high)
            else:
                self._apply_piece(change, number, low, high)

    def _apply_piece(self, change: Change, number: int, low: int, high: int) -> None:
        if high - low == CHUNK and change.data is None and change.fill == 0:
            del self.chunks[number]
            return
        chunk = self.chunk(number)
        for sector in [s for s in chunk.choices if change.touches(s * SECTOR, (s + 1) * SECTOR)]:
            states = chunk.choices.pop(sector)
            if change.covers(sector * SECTOR, (sector + 1) * SECTOR):
                continue
            new = states and frozenset(change.on_sector(sector, old) for old in states)
            self.set_states(sector, new)
        chunk.data[low - number * CHUNK : high - number * CHUNK] = change.at(low, high)

    def _apply_maybe(self, change: Change, low: int, high: int) -> None:
        chunk = self.chunk(low // CHUNK)
        constant = bytes([change.fill]) * SECTOR if change.data is None else None
        for sector in range(low // SECTOR, (high + SECTOR - 1) // SECTOR):
            begin = sector * SECTOR
            if sector in chunk.choices:
                states = chunk.choices[sector]
                if states is None:
                    continue
            else:
                place = begin % CHUNK
                states = frozenset((chunk.data[place : place + SECTOR].tobytes(),))
            if not change.covers(begin, begin + SECTOR):
                new = frozenset(change.on_sector(sector, old) for old in states)
            elif constant is not None:
                new = frozenset((constant,))
            else:
                new = frozenset((change.on_sector(sector, b""),))
            if not new <= states:  # the old content stays the most likely one
                new |= states
                chunk.choices[sector] = new if len(new) <= MOST_STATES else None

    def narrow(self, offset: int, seen: Bytes, sectors: Sequence[int]) -> None:
        """Permit in these sectors only the contents that agree with the data of a read.

        A sector for which none agrees may hold anything from now on, as does one that might hold
        anything before, unless all of it was read.

        :param offset: of the data, in bytes.
        :param sectors: numbers of sectors with more than one permitted content.
        """
        for sector in sectors:
            begin = sector * SECTOR
            chunk = self.chunk(begin // CHUNK)
            low, high = max(begin, offset), min(begin + SECTOR, offset + len(seen))
            there = seen[low - offset : high - offset]
            states, part = chunk.choices[sector], slice(low - begin, high - begin)
            if high - low == SECTOR and (states is None or there.tobytes() in states):
                chunk.data[begin % CHUNK : begin % CHUNK + SECTOR] = there
                del chunk.choices[sector]
            elif states is not None:
                read = there.tobytes()
                fitting = frozenset(state for state in states if state[part] == read)
                self.set_states(sector, fitting or None)

    def apply_in_any_order(self, changes: Sequence[Change], maybe: bool = False) -> None:
        """Make changes that were in flight together: in each sector any order is permitted."""
        shared: set[int] = set()
        taken: set[int] = set()
        for change in changes:
            end = change.offset + change.length
            sectors = range(change.offset // SECTOR, (end + SECTOR - 1) // SECTOR)
            shared.update(taken.intersection(sectors))
            taken.update(sectors)
        before = {sector: self.states(sector) for sector in shared}
        for change in changes:
            self.apply(change, maybe)
        for sector, states in before.items():
            here = [c for c in changes if c.touches(sector * SECTOR, (sector + 1) * SECTOR)]
            self.set_states(sector, _any_order(sector, states, here, maybe))

    def truncate(self, size: int) -> None:
        """Make everything beyond ``size`` zeroes."""
        if self.chunks:
            end = (max(self.chunks) + 1) * CHUNK
            self.apply(Change(size, max(end - size, 0)))


def is_one_of(there: bytes, states: frozenset[bytes], part: slice) -> bool:
    """Return whether the bytes that were read of a sector are those of a permitted content."""
    return there in states or (len(there) < SECTOR and any(s[part] == there for s in states))


def nearest(
    states: Sequence[Bytes], seen: Bytes, likeliest: Bytes, promised: NDArray[np.int64]
) -> Bytes:
    """Return the permitted contents to compare a sector with.

    They are the likeliest ones, unless others have at most half as many bytes that differ from what
    was seen: a discard may have zeroed a part of the sector, and that is no damage.

    :param promised: the bytes that count.
    """
    differing = [int(np.count_nonzero((one != seen)[promised])) for one in states]
    fewest = min(differing)
    if 2 * fewest > np.count_nonzero((likeliest != seen)[promised]):
        return likeliest
    return states[differing.index(fewest)]


def _any_order(sector: int, states: States, changes: Sequence[Change], maybe: bool) -> States:
    whole = all(change.covers(sector * SECTOR, (sector + 1) * SECTOR) for change in changes)
    if whole and not any(change.maybe for change in changes):
        last = frozenset(change.on_sector(sector, bytes(SECTOR)) for change in changes)
        if not maybe:
            return last
        return states and states | last
    if states is None or len(changes) > _MOST_ORDERS:
        return None
    results: set[bytes] = set()
    for order in permutations(changes):
        reached = set(states)
        for change in order:
            new = {change.on_sector(sector, old) for old in reached}
            reached = reached | new if maybe or change.maybe else new
            if len(reached) > MOST_STATES:
                return None
        results |= reached
    return frozenset(results)

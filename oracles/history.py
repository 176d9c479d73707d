"""The history of one volume: which request touched which bytes, in order, and what it stamped."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import numpy as np

from oracles.damage import Operation
from oracles.stamps import SECTOR, Header, Identity, keys_of

_SEARCHED = 1 << 20
"""Sectors of which `History.stamp_with` compares the keys; this takes 50 ms."""


class History:
    """Operations in the order in which they were known to end. Iterate over it for the entries."""

    def __init__(self, identity: Identity) -> None:
        self._identity = identity
        self._entries: list[Operation] = []
        self._last_number = 0
        self._generation = 0
        self._stamped: dict[int, tuple[int, int]] = {}
        self._places: dict[int, tuple[int, int]] = {}

    def __iter__(self) -> Iterator[Operation]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def copy(self, identity: Identity) -> History:
        """Return an independent copy that continues for that identity."""
        other = History(identity)
        other._entries = list(self._entries)
        other._last_number = self._last_number
        other._generation = self._generation
        other._stamped = dict(self._stamped)
        other._places = dict(self._places)
        return other

    def next_number(self) -> int:
        """Return the number of the next operation: 1, 2, 3, ..."""
        self._last_number += 1
        return self._last_number

    def next_generation(self, number: int, writer: int, offset: int = 0, length: int = 0) -> int:
        """Return the generation, from 1, of the stamps that an operation will write.

        :param offset: in bytes, as is ``length``: where it will write them; 0 if not known.
        """
        self._generation += 1
        self._stamped[number] = (self._generation, writer)
        self._places[number] = (offset, length)
        return self._generation

    def known(self, number: int | None) -> int | None:
        """Return the number if an operation of this history wrote stamps with it, else None."""
        return number if number in self._stamped else None

    def prefilled(self, offset: int, length: int) -> None:
        """Record stamps of generation 0."""
        entry = Operation(0, offset, length, "prefill", 0, self._identity.writer)
        self._entries.append(entry)

    def record(self, text: str, offset: int, length: int, number: int | None = None) -> None:
        """Record an operation; without a number it gets the next one."""
        if number is None:
            number = self.next_number()
        self._last_number = max(self._last_number, number)
        generation, writer = self._stamped.get(number, (None, 0))
        self._entries.append(Operation(number, offset, length, text, generation, writer))

    def last_writes(self, offset: int, length: int, count: int = 1) -> tuple[Operation, ...]:
        """Return up to ``count`` operations that touched a range, the last one first."""
        touching = (entry for entry in reversed(self._entries) if entry.touches(offset, length))
        return tuple(islice(touching, count))

    def stamp_with(self, key: int) -> Header | None:
        """Return the header of the stamp whose fill has a key; None if none was written.

        Only the newest writes are searched, up to a million sectors.
        """
        left = _SEARCHED
        for number, offset, length, generation, writer in self._all_stamped():
            first = offset // SECTOR
            count = (offset + length - 1) // SECTOR + 1 - first
            left -= count
            if left < 0:
                return None
            identity = Identity(self._identity.run, self._identity.volume, writer)
            keys = keys_of(identity, first, count, generation, number)
            places = np.flatnonzero(keys == np.uint64(key))
            if len(places):
                lba = first + int(places[0])
                return Header(identity.run, identity.volume, lba, generation, writer, number)
        return None

    def _all_stamped(self) -> Iterator[tuple[int, int, int, int, int]]:
        """Give number, offset, length, generation and writer of all that was stamped."""
        for number in reversed(self._places):
            offset, length = self._places[number]
            if length:
                yield number, offset, length, *self._stamped[number]
        for entry in self._entries:
            if entry.generation == 0 and entry.length:
                yield entry.number, entry.offset, entry.length, 0, entry.writer

    def stamps_of(self, sector: int) -> list[Header]:
        """Return the headers of all stamps that were written to a sector, newest first."""
        run, volume = self._identity.run, self._identity.volume
        return [
            Header(run, volume, sector, entry.generation, entry.writer, entry.number)
            for entry in reversed(self._entries)
            if entry.generation is not None and entry.touches(sector * SECTOR, SECTOR)
        ]

"""Reads of one block each on a queue that a case polls: as many as the ring has room for."""

from __future__ import annotations

from random import Random

from oracles.stamps import SECTOR
from qbdcheck.kit.virtio_blk import HEADER, Kind, Queue, Segment, Status, kick, name_of

_BLOCK = 4096
_ROOM = 8192
"""Bytes of shared memory for one read: header and status in the first page, then the data."""


class Reads:
    """Reads of 4096 bytes at random places of a volume.

    :param size: of the volume in bytes, at least 8192.
    """

    def __init__(self, queue: Queue, size: int, random: Random) -> None:
        self._queue, self._size, self._random = queue, size, random
        self._memory = queue.ring.memory
        self._places: dict[int, tuple[int, int]] = {}

    def fill(self, *, together: bool, tables: bool = False) -> list[int]:
        """Make reads available until no descriptor is free; return their heads.

        :param together: change the index once for all, and kick once; else once for each.
        :param tables: each read has an indirect table: the ring then takes three times as many.
        """
        room = self._queue.ring.room()
        chains = [self._chain() for _ in range(room if tables else room // 3)]
        heads = []
        for some in [chains] if together else [[one] for one in chains]:
            found = self._queue.ring.add_chains(
                [(parts, parts[0].offset + 64 if tables else None) for parts, _ in some]
            )
            if self._queue.ring.must_notify(len(found)):
                kick(self._queue)
            for head, (segments, offset) in zip(found, some, strict=True):
                self._places[head] = segments[0].offset, offset
            heads += found
        return heads

    def take(self, head: int, what: str) -> tuple[int, bytes]:
        """Return offset and data of a completed read, and free its memory.

        :raise AssertionError: it failed.
        """
        at, offset = self._places.pop(head)
        status = self._memory.map[at + 32]
        data = self._memory.map[at + _BLOCK : at + _BLOCK + _BLOCK]
        self._memory.give_back(at, _ROOM)
        assert status == Status.OK, f"{what}: a read at {offset} has {name_of(status)}"
        return offset, data

    def _chain(self) -> tuple[list[Segment], int]:
        at = self._memory.take(_ROOM)
        offset = self._random.randrange(self._size // _BLOCK) * _BLOCK
        HEADER.pack_into(self._memory.map, at, Kind.READ, 0, offset // SECTOR)
        self._memory.map[at + 32] = Status.UNWRITTEN
        return [
            Segment(at, HEADER.size, to_driver=False),
            Segment(at + _BLOCK, _BLOCK, to_driver=True),
            Segment(at + 32, 1, to_driver=True),
        ], offset

"""Reads on a queue that a case polls: as many as the ring has room for."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from random import Random

from oracles.stamps import SECTOR
from qbdcheck.clock import pause
from qbdcheck.kit.request_errors import RequestLost
from qbdcheck.kit.virtio_blk import (
    DESCRIPTOR,
    GUEST_BASE,
    HEADER,
    USED_ELEMENT,
    Kind,
    MessageError,
    Queue,
    Segment,
    Status,
    kick,
    longest_segment,
    name_of,
)
from qbdcheck.programs.running import status_of_zombie
from qbdcheck.targets.disk import Disk

_PAGE = 4096
"""Bytes before the data of a read: its header, its status, and room for a table."""
_NEXT, _WRITE = 1, 2
_STEP_S, _STEPS, _MORE_STEPS = 0.02, 5, 100


def read_behind(queue: Queue, head: int) -> list[int]:
    """Send a read behind a chain that the case has published; return the heads that are used.

    The ring must have no other requests. If the read is used, the other chain has 2 s more for it.

    :param head: the first of three descriptors for the read.
    """
    ring = queue.ring
    memory, at = ring.memory.map, ring.memory.take(2 * _PAGE)
    HEADER.pack_into(memory, at, Kind.READ, 0, 0)
    parts = ((at, HEADER.size, _NEXT), (at + _PAGE, _PAGE, _NEXT | _WRITE), (at + 32, 1, _WRITE))
    for number, (place, length, flags) in enumerate(parts, head):
        to = ring.offset + DESCRIPTOR.size * number
        DESCRIPTOR.pack_into(memory, to, GUEST_BASE + place, length, flags, number + 1)
    ring.publish(head)
    kick(queue)
    heads: list[int] = []
    steps = 0
    while len(heads) < 2 and steps < (_MORE_STEPS if head in heads else _STEPS):
        steps += 1
        pause(_STEP_S)
        first = ring.used + 4
        heads = [
            USED_ELEMENT.unpack_from(memory, first + USED_ELEMENT.size * number)[0]
            for number in range(ring.indexes()[1])
        ]
    return heads


@contextlib.contextmanager
def told(disk: Disk, what: str) -> Iterator[None]:
    """Let the end of a connection name what was requested, and whether the daemon still runs.

    :param what: what came before, and which requests the daemon must carry out.

    :raise RequestLost: the daemon ended the connection, or answered wrongly.
    """
    try:
        yield
    except MessageError as error:
        pid = disk.backend.pid
        runs = Path(f"/proc/{pid}").exists() and status_of_zombie(pid) is None
        state = "its process still runs" if runs else "its process has ended"
        raise RequestLost(f"{error} ({state}); {what}") from error


class Reads:
    """Reads at random places of a volume, each of one segment.

    :param size: of the volume in bytes.
    :param length: bytes of a read, a power of two; less if the daemon takes only shorter ones.
    """

    def __init__(self, queue: Queue, size: int, random: Random, length: int = _PAGE) -> None:
        self._queue, self._size, self._random = queue, size, random
        self._length = min(length, longest_segment(queue.front_end))
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

    def name(self, head: int) -> str:
        """Return which read a descriptor begins: its length and offset in bytes, and its head."""
        return f"the read of {self._length} bytes at {self._places[head][1]} (descriptor {head})"

    def take(self, head: int, what: str) -> tuple[int, bytes]:
        """Return offset and data of a completed read, and free its memory.

        :raise AssertionError: it failed.
        """
        at, offset = self._places.pop(head)
        status = self._memory.map[at + 32]
        data = self._memory.map[at + _PAGE : at + _PAGE + self._length]
        self._memory.give_back(at, _PAGE + self._length)
        assert status == Status.OK, f"{what}: a read at {offset} has {name_of(status)}"
        return offset, data

    def _chain(self) -> tuple[list[Segment], int]:
        at = self._memory.take(_PAGE + self._length)
        offset = self._random.randrange(self._size // self._length) * self._length
        HEADER.pack_into(self._memory.map, at, Kind.READ, 0, offset // SECTOR)
        self._memory.map[at + 32] = Status.UNWRITTEN
        return [
            Segment(at, HEADER.size, to_driver=False),
            Segment(at + _PAGE, self._length, to_driver=True),
            Segment(at + 32, 1, to_driver=True),
        ], offset

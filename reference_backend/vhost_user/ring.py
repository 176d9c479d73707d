"""The driver's side of a split virtqueue (VIRTIO 1.2, section 2.7).

Indexes are stored by a `memoryview` of 16-bit numbers: that is one store, so the daemon never sees
half an index. `struct` would store byte by byte.
"""

from __future__ import annotations

import mmap
import struct
import threading
from collections.abc import Sequence
from typing import NamedTuple

from reference_backend.vhost_user.memory import GUEST_BASE, USER_BASE, SharedMemory

DESCRIPTOR = struct.Struct("<QIHH")
"""Address, length, flags, next."""
USED_ELEMENT = struct.Struct("<II")
NEXT = 1
WRITE = 2
INDIRECT = 4
_NO_NOTIFY = 1
_U16 = 1 << 16


class Segment(NamedTuple):
    """One descriptor of a request: offset in the shared memory, bytes, who writes."""

    offset: int
    length: int
    to_driver: bool
    """Whether the daemon writes it (data of a read, the status); else it reads it."""


class Used(NamedTuple):
    """An element of the used ring: the first descriptor of a chain, and the bytes written."""

    head: int
    written: int


class RingError(Exception):
    """The daemon broke the rules of the ring. The message says how."""


class Ring:
    """One queue of a driver. `add` and `pop` may be called by different threads.

    :param memory: holds the ring, from a range that the ring takes and keeps.
    :param size: descriptors, a power of two, at most 32768.
    :param event_idx: whether VIRTIO_F_EVENT_IDX was negotiated.
    :param start: the first index of both rings, 0 to 65535. It shows what happens where an index
        wraps, without 65536 requests before.
    """

    def __init__(
        self, memory: SharedMemory, size: int, *, event_idx: bool = False, start: int = 0
    ) -> None:
        self.memory = memory
        self.size = size
        self.event_idx = event_idx
        available = 16 * size
        used = -(-(available + 6 + 2 * size) // 4096) * 4096
        length = used + 6 + 8 * size
        self.offset = memory.take(length)
        self.available, self.used = self.offset + available, self.offset + used
        self._map = memory.map
        self._map[self.offset : self.offset + length] = bytes(length)
        self._u16 = memoryview(self._map).cast("H")
        self._free = list(range(size))
        self._chains: dict[int, list[int]] = {}
        self._next = self._seen = start
        self._lock = threading.Lock()
        self.kick_is_wanted = True
        """What `must_notify` said last."""
        self._put(self.available + 2, start)
        self._put(self.used + 2, start)
        self._put(self.used + 4 + 8 * size, start)  # what the device left when it stopped there
        self.expect_interrupt()

    def addresses(self) -> tuple[int, int, int]:
        """Return the user addresses of descriptors, used ring and available ring."""
        return USER_BASE + self.offset, USER_BASE + self.used, USER_BASE + self.available

    def room(self) -> int:
        """Return how many descriptors are free."""
        return len(self._free)

    def add(
        self,
        segments: Sequence[Segment],
        *,
        indirect: int | None = None,
        direct: int = 0,
        backwards: bool = False,
    ) -> int:
        """Make one chain available; return its head. `must_notify` says whether to kick.

        :param segments: those that the daemon reads come first.
        :param indirect: offset of a table in the memory with room for the segments: the chain then
            takes one descriptor of the ring.
        :param direct: so many segments come before the table, in descriptors of the ring.
        :param backwards: behind its first descriptor, the table is in the opposite order.

        :raise IndexError: the ring has not enough free descriptors.
        """
        return self.add_chains([(segments, indirect)], direct, backwards=backwards)[0]

    def add_chains(
        self,
        chains: Sequence[tuple[Sequence[Segment], int | None]],
        direct: int = 0,
        *,
        backwards: bool = False,
    ) -> list[int]:
        """Make several chains available by one change of the index; return their heads."""
        with self._lock:
            needed = sum(len(chain) if table is None else direct + 1 for chain, table in chains)
            if needed > len(self._free):
                msg = f"{needed} descriptors are needed, and {len(self._free)} are free"
                raise IndexError(msg)
            heads = []
            for number, (segments, table) in enumerate(chains):
                head = self._write_chain(segments, table, direct, backwards)
                slot = (self._next + number) % self.size
                self._put(self.available + 4 + 2 * slot, head)
                heads.append(head)
            self._next = (self._next + len(chains)) % _U16
            self._put(self.available + 2, self._next)
        return heads

    def publish(self, head: int, index: int | None = None) -> None:
        """Make a chain available whose descriptors the caller has written; for tests of daemons.

        :param index: the new available index; by default the next one.
        """
        with self._lock:
            self._put(self.available + 4 + 2 * (self._next % self.size), head)
            self._next = (self._next + 1) % _U16 if index is None else index % _U16
            self._put(self.available + 2, self._next)

    def must_notify(self, added: int) -> bool:
        """Return whether the daemon wants a kick for the last ``added`` chains (section 2.7.10)."""
        order_memory()
        if self.event_idx:
            event = self._get(self.used + 4 + 8 * self.size)
            self.kick_is_wanted = (self._next - event - 1) % _U16 < added
        else:
            self.kick_is_wanted = not self._get(self.used) & _NO_NOTIFY
        return self.kick_is_wanted

    def why_a_kick_helped(self) -> str:
        """Say which rule a daemon broke that continues after a further kick."""
        if self.kick_is_wanted:
            return "the daemon continued only after a second kick"
        by = "avail_event" if self.event_idx else "the flag NO_NOTIFY"
        return f"the daemon continued only after a kick that it had not asked for by {by}"

    def pop(self) -> list[Used]:
        """Return the chains that the daemon has used since the last call, and free them.

        :raise RingError: it used a chain that is not available, or more chains than there are.
        """
        with self._lock:
            index = self._get(self.used + 2)
            count = (index - self._seen) % _U16
            if count > len(self._chains):
                msg = (
                    f"the used ring has {count} new elements (its index went from {self._seen} to"
                    f" {index}), although {len(self._chains)} requests are outstanding"
                )
                raise RingError(msg)
            found = []
            for _ in range(count):
                at = self.used + 4 + 8 * (self._seen % self.size)
                used = Used(*USED_ELEMENT.unpack_from(self._map, at))
                chain = self._chains.pop(used.head, None)
                if chain is None:
                    msg = f"descriptor {used.head} was used, although no request begins there"
                    raise RingError(msg)
                self._free.extend(chain)
                self._seen = (self._seen + 1) % _U16
                found.append(used)
        return found

    def used_count(self) -> int:
        """Return how many chains the daemon has used that `pop` has not returned."""
        return (self._get(self.used + 2) - self._seen) % _U16

    def expect_interrupt(self) -> None:
        """Ask for an interrupt at the next used chain. Call `pop` again afterwards."""
        if self.event_idx:
            self._put(self.available + 4 + 2 * self.size, self._seen)
        order_memory()

    def outstanding(self) -> int:
        """Return how many chains the daemon has not used."""
        return len(self._chains)

    def indexes(self) -> tuple[int, int]:
        """Return the next index of the available ring, and that of the used ring."""
        return self._next, self._get(self.used + 2)

    def _write_chain(
        self, segments: Sequence[Segment], table: int | None, direct: int, backwards: bool
    ) -> int:
        """Write a chain: all in the ring, or ``direct`` segments and a table of the rest."""
        parts = [_descriptor_of(segment) for segment in segments]
        if table is not None:
            count = len(parts) - direct
            order = [0, *(range(count - 1, 0, -1) if backwards else range(1, count))]
            _write(self._map, [table + 16 * n for n in order], parts[direct:], order)
            parts[direct:] = [(GUEST_BASE + table, 16 * count, INDIRECT)]
        places = [self._free.pop() for _ in parts]
        _write(self._map, [self.offset + 16 * place for place in places], parts, places)
        self._chains[places[0]] = places
        return places[0]

    def _get(self, at: int) -> int:
        return self._u16[at // 2]

    def _put(self, at: int, value: int) -> None:
        order_memory()  # what was written before is visible before the index
        self._u16[at // 2] = value


def _descriptor_of(segment: Segment) -> tuple[int, int, int]:
    """Return address, length and flags of a segment's descriptor, without NEXT."""
    return GUEST_BASE + segment.offset, segment.length, WRITE if segment.to_driver else 0


def _write(
    memory: mmap.mmap,
    at: Sequence[int],
    parts: Sequence[tuple[int, int, int]],
    places: Sequence[int],
) -> None:
    """Write descriptors, each with the number of the next one.

    :param at: where each is written.
    :param places: their numbers, in the ring or in the table.
    """
    for number, (address, length, flags) in enumerate(parts):
        if number + 1 < len(parts):
            DESCRIPTOR.pack_into(
                memory, at[number], address, length, flags | NEXT, places[number + 1]
            )
        else:
            DESCRIPTOR.pack_into(memory, at[number], address, length, flags, 0)


_barrier = threading.Lock()


def order_memory() -> None:
    """Order loads and stores: taking a lock is an atomic instruction with a full barrier."""
    with _barrier:
        pass

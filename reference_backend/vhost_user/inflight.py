"""The region that remembers which requests of a queue are in flight, also after the server died.

The front end keeps the region and the rings. A server that starts again gets both, and executes
what its predecessor had taken and not completed. Source: QEMU, docs/interop/vhost-user.rst,
"Inflight I/O tracking", split virtqueues.
"""

from __future__ import annotations

import mmap
import os
import struct

from reference_backend.vhost_user.ring import order_memory

HEAD = struct.Struct("=QHHHH")
"""Features, version, number of entries, head of the last batch, used index."""
_ENTRY_BYTES = 16
_NEXT, _COUNTER = 6, 8
"""Offsets within an entry; the flag `inflight` is its first byte."""
_LAST, _USED = 12, 14
"""Offsets of the last batch and of the used index."""
_ALIGNMENT = 64


def region_bytes(queue_size: int) -> int:
    """Return the bytes of the region of one queue."""
    length = HEAD.size + queue_size * _ENTRY_BYTES
    return -(-length // _ALIGNMENT) * _ALIGNMENT


def new_area(queues: int, queue_size: int) -> tuple[int, int]:
    """Return the descriptor of a file with an empty region for each queue, and its bytes."""
    length = queues * region_bytes(queue_size)
    fd = os.memfd_create("inflight", os.MFD_CLOEXEC)
    os.ftruncate(fd, length)
    return fd, length


class Inflight:
    """The region of one queue.

    :param area: the mapped file; ``offset`` is where the region begins.
    :param size: descriptors of the queue.

    :raise ValueError: the region is outside of the file, or of another version or size.
    """

    def __init__(self, area: mmap.mmap, offset: int, size: int) -> None:
        if offset + HEAD.size + size * _ENTRY_BYTES > len(area):
            msg = f"a region for {size} requests at {offset} of {len(area)} bytes"
            raise ValueError(msg)
        self._area, self._offset, self._size = area, offset, size
        _, version, entries, _, _ = HEAD.unpack_from(area, offset)
        if not version:
            HEAD.pack_into(area, offset, 0, 1, size, 0, 0)
        elif (version, entries) != (1, size):
            msg = f"a region of version {version} with {entries} entries"
            raise ValueError(msg)
        self._counter = 1 + max(map(self._counter_of, range(size)))

    def recover(self, used_index: int) -> list[int]:
        """Return the requests in flight, oldest first, given the index of the used ring.

        What the last batch completed is not in flight, whatever its flags are.
        """
        batch = (used_index - self._get(_USED)) % 65536
        head = self._get(_LAST)
        for _ in range(min(batch, self._size)):
            self._area[self._entry(head)] = 0
            head = self._get_next(head)
        self._put(_USED, used_index)
        found = [one for one in range(self._size) if self._area[self._entry(one)]]
        return sorted(found, key=self._counter_of)

    def taken(self, head: int) -> None:
        """Note that a request was taken from the available ring."""
        at = self._entry(head)
        struct.pack_into("=Q", self._area, at + _COUNTER, self._counter)
        self._counter += 1
        order_memory()
        self._area[at] = 1

    def is_using(self, head: int) -> None:
        """Note the request that is put into the used ring next."""
        struct.pack_into("=H", self._area, self._entry(head) + _NEXT, self._get(_LAST))
        self._put(_LAST, head)
        order_memory()

    def used(self, head: int, used_index: int) -> None:
        """Note that the request is in the used ring, whose index is now ``used_index``."""
        order_memory()
        self._area[self._entry(head)] = 0
        order_memory()
        self._put(_USED, used_index)

    def is_settled(self, used_index: int) -> bool:
        """Return whether the region and the used ring agree."""
        return self._get(_USED) == used_index

    def pretend_unfinished(self) -> None:
        """Go back to the moment between the used ring's index and `used`; for tests of daemons."""
        self._area[self._entry(self._get(_LAST))] = 1
        self._put(_USED, (self._get(_USED) - 1) % 65536)

    def _entry(self, head: int) -> int:
        return self._offset + HEAD.size + head % self._size * _ENTRY_BYTES

    def _counter_of(self, head: int) -> int:
        return int(struct.unpack_from("=Q", self._area, self._entry(head) + _COUNTER)[0])

    def _get_next(self, head: int) -> int:
        return int(struct.unpack_from("=H", self._area, self._entry(head) + _NEXT)[0])

    def _get(self, at: int) -> int:
        return int(struct.unpack_from("=H", self._area, self._offset + at)[0])

    def _put(self, at: int, value: int) -> None:
        struct.pack_into("=H", self._area, self._offset + at, value)

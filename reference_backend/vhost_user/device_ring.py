"""The device's side of a split virtqueue, in memory that a front end has shared.

Everything here was written by a client: each address, length and index is checked. A rule that is
broken ends the queue, never the server (VIRTIO 1.2, section 2.7).
"""

from __future__ import annotations

import mmap
import threading
from collections.abc import Sequence
from typing import NamedTuple

from reference_backend.vhost_user.inflight import Inflight
from reference_backend.vhost_user.ring import (
    DESCRIPTOR,
    INDIRECT,
    NEXT,
    USED_ELEMENT,
    WRITE,
    order_memory,
)

_NO_INTERRUPT = 1
_U16 = 1 << 16


class BadRing(Exception):  # noqa: N818  # reads as a sentence where it is raised
    """The front end broke a rule of the ring or of its memory. The message says which."""


class Region(NamedTuple):
    """One region of the front end's memory; addresses and sizes in bytes."""

    guest: int
    size: int
    user: int
    map: mmap.mmap
    offset: int
    """Where the region begins in ``map``."""


class GuestMemory:
    """All regions of a front end."""

    def __init__(self, regions: Sequence[Region]) -> None:
        self.regions = tuple(regions)

    def add(self, region: Region) -> None:
        """Add a region, for running queues too."""
        self.regions = (*self.regions, region)

    def remove(self, guest: int, size: int, user: int) -> None:
        """Remove a region.

        :raise BadRing: there is none with these addresses and this size.
        """
        gone = (guest, size, user)
        kept = tuple(one for one in self.regions if (one.guest, one.size, one.user) != gone)
        if len(kept) == len(self.regions):
            msg = f"no region of {size} bytes at {guest:#x}"
            raise BadRing(msg)
        self.regions = kept

    def ranges(self, address: int, length: int) -> list[memoryview]:
        """Return the bytes of a guest address: several views where regions meet.

        :raise BadRing: a part of the range is in no region.
        """
        found = []
        while length:
            for region in self.regions:
                inside = address - region.guest
                if 0 <= inside < region.size:
                    part = min(length, region.size - inside)
                    start = region.offset + inside
                    found.append(memoryview(region.map)[start : start + part])
                    address, length = address + part, length - part
                    break
            else:
                msg = f"address {address:#x} is in no region"
                raise BadRing(msg)
        return found

    def user(self, address: int, length: int) -> memoryview:
        """Return ``length`` bytes at a user address, which must be in one region.

        :raise BadRing: they are not.
        """
        for region in self.regions:
            inside = address - region.user
            if inside >= 0 and inside + length <= region.size:
                start = region.offset + inside
                return memoryview(region.map)[start : start + length]
        msg = f"{length} bytes at user address {address:#x} are in no region"
        raise BadRing(msg)


class Chain(NamedTuple):
    """One request: its first descriptor, what the device reads, and what it writes."""

    head: int
    reads: list[memoryview]
    writes: list[memoryview]


class DeviceRing:
    """A queue of the device.

    :param addresses: user addresses of descriptors, used ring and available ring.
    :param base: index of the available ring at which to begin.
    :param inflight: remembers the requests in flight. Those that are in it already come first, and
        ``base`` is then what the used ring says.
    """

    def __init__(
        self,
        memory: GuestMemory,
        size: int,
        addresses: tuple[int, int, int],
        base: int,
        *,
        event_idx: bool,
        inflight: Inflight | None = None,
    ) -> None:
        self.memory, self.size, self.event_idx = memory, size, event_idx
        descriptors, used, available = addresses
        self._descriptors = memory.user(descriptors, 16 * size)
        self._used_bytes = memory.user(used, 4 + 8 * size + 2)
        self._available = memory.user(available, 4 + 2 * size + 2).cast("H")
        self._used = self._used_bytes.cast("B")[: 4 + 8 * size + 2].cast("H")
        self._lock = threading.Lock()
        self.next = base
        self.used_index = self._used[1]
        self._inflight = inflight
        self._again: list[int] = []
        if inflight is not None and (again := inflight.recover(self.used_index)):
            self._again = again
            self.next = (self.used_index + len(again)) % _U16

    def take(self) -> list[int]:
        """Return the heads of the chains that are available, and ask to be told of more.

        :raise BadRing: there are more than the ring has room for.
        """
        heads, self._again = self._again, []
        while True:
            count = (self._available[1] - self.next) % _U16
            if count > self.size:
                msg = f"{count} chains are available on a queue of {self.size}"
                raise BadRing(msg)
            found = [self._available[2 + (self.next + n) % self.size] for n in range(count)]
            if self._inflight is not None:
                for head in found:
                    self._inflight.taken(head)
            heads += found
            self.next = (self.next + count) % _U16
            if self.event_idx:
                self._used[2 + 4 * self.size] = self.next
            order_memory()
            if self._available[1] == self.next:
                return heads

    def chain(self, head: int) -> Chain:
        """Return the request that begins at a descriptor.

        :raise BadRing: the chain is longer than the ring, or an index or address is wrong.
        """
        table, entries, at = self._descriptors, self.size, head
        chain = Chain(head, [], [])
        for _ in range(self.size + 1):
            if at >= entries:
                msg = f"descriptor {at} of a table with {entries}"
                raise BadRing(msg)
            address, length, flags, following = DESCRIPTOR.unpack_from(table, 16 * at)
            if flags & INDIRECT:
                if table is not self._descriptors or length % 16 or flags & NEXT:
                    msg = "an indirect table that the document does not permit"
                    raise BadRing(msg)
                table = memoryview(b"".join(self.memory.ranges(address, length)))
                entries, at = length // 16, 0
                continue
            part = chain.writes if flags & WRITE else chain.reads
            part += self.memory.ranges(address, length)
            if not flags & NEXT:
                return chain
            at = following
        msg = f"a chain of more than {self.size} descriptors"
        raise BadRing(msg)

    def put(self, head: int, written: int) -> bool:
        """Use a chain; return whether the driver wants an interrupt."""
        with self._lock:
            if self._inflight is not None:
                self._inflight.is_using(head)
            USED_ELEMENT.pack_into(
                self._used_bytes, 4 + 8 * (self.used_index % self.size), head, written
            )
            self.used_index = (self.used_index + 1) % _U16
            order_memory()
            self._used[1] = self.used_index
            order_memory()
            if self._inflight is not None:
                self._inflight.used(head, self.used_index)
            if not self.event_idx:
                return not self._available[0] & _NO_INTERRUPT
            event = self._available[2 + self.size]
            return (self.used_index - event - 1) % _U16 < 1

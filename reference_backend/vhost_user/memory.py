"""Memory that a front end shares with a vhost-user daemon, and room in it.

The memory is a file without a name (memfd_create(2)). The daemon maps the same file. Offsets in
this module count from the start of the memory; `GUEST_BASE` and `USER_BASE` turn them into the two
kinds of addresses that the protocol has.
"""

from __future__ import annotations

import bisect
import mmap
import os
import threading
import time

GUEST_BASE = 0x1_0000_0000
"""Guest address of the first byte: what descriptors contain."""
USER_BASE = 0x7000_0000_0000
"""User address of the first byte: what SET_VRING_ADDR contains. Different from `GUEST_BASE`, so
that a daemon that confuses the two fails at once."""
_ALIGNMENT = 4096


class NoRoom(MemoryError):  # noqa: N818  # reads as a sentence where it is raised
    """No gap of the memory was long enough in time."""


class SharedMemory:
    """A region of memory, and an allocator of ranges of it.

    :param size: bytes, a multiple of 4096. Memory takes room only where it was written.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.fd = os.memfd_create("vhost-user", os.MFD_CLOEXEC)
        os.ftruncate(self.fd, size)
        self.map = mmap.mmap(self.fd, size)
        self._lock = threading.Condition()
        self._free = [(0, size)]

    def take(self, length: int, patience_s: float = 30.0) -> int:
        """Return the offset of ``length`` free bytes, at a multiple of 4096; wait for room.

        :raise NoRoom: there was none within ``patience_s`` seconds.
        """
        length = _rounded(length)
        deadline = time.monotonic() + patience_s
        with self._lock:
            while True:
                for number, (start, end) in enumerate(self._free):
                    if end - start >= length:
                        self._free[number] = (start + length, end)
                        return start
                left = deadline - time.monotonic()
                if left <= 0 or not self._lock.wait(left):
                    msg = f"no {length} bytes of shared memory became free in {patience_s:g} s"
                    raise NoRoom(msg)

    def give_back(self, offset: int, length: int) -> None:
        """Free a range that `take` returned for this length."""
        start, end = offset, offset + _rounded(length)
        with self._lock:
            at = bisect.bisect(self._free, (start, end))
            if at < len(self._free) and self._free[at][0] == end:
                end = self._free.pop(at)[1]
            if at and self._free[at - 1][1] == start:
                at -= 1
                start = self._free.pop(at)[0]
            self._free.insert(at, (start, end))
            self._lock.notify_all()

    def close(self) -> None:
        """Close the file. The map stays until nothing refers to it."""
        os.close(self.fd)


def _rounded(length: int) -> int:
    return max(_ALIGNMENT, -(-length // _ALIGNMENT) * _ALIGNMENT)

"""Settings of the C library's allocator for a server of large blocks.

The server allocates and frees the replies to READ all the time. By default, glibc returns freed
memory at the top of its heap to the kernel at once, and maps blocks of 128 KiB and more for each
use. Then each reply causes a page fault for every 4 KiB (measured: reads of 64 KiB at queue depth
16 run at half the speed).
"""

from __future__ import annotations

import ctypes
import functools

_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_M_ARENA_MAX = -8
"""Numbers of mallopt(3), as in glibc's malloc.h."""
KEEP_BYTES = 16 * 1024 * 1024
"""Freed memory that each of two arenas may keep."""
MAPPED_FROM_BYTES = 4 * 1024 * 1024
"""Blocks of at least this size are mapped from the kernel and returned to it when freed."""


@functools.cache
def keep_freed_memory() -> bool:
    """Make the allocator keep some freed memory; return whether it can (glibc can)."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    settings = (
        (_M_ARENA_MAX, 2),
        (_M_MMAP_THRESHOLD, MAPPED_FROM_BYTES),
        (_M_TRIM_THRESHOLD, KEEP_BYTES),
    )
    results = [mallopt(*setting) for setting in settings]
    return results == [1] * len(settings)

"""Settings of the C library's allocator that a server of large blocks needs.

Replies to READ are allocated and freed all the time. By default glibc gives freed memory at the
top of its heap back to the kernel at once, and maps anything from 128 KiB afresh; each reply then
pays a page fault per 4 KiB (measured: reads of 64 KiB at queue depth 16 run at half the speed).
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
"""Blocks from this size on come from the kernel and go back to it, so that they do not linger."""


@functools.cache
def keep_freed_memory() -> bool:
    """Tell the allocator to keep some freed memory; return whether it listened (glibc does)."""
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

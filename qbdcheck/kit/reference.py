"""The reference backend and its write log, for cases that use them in process."""

from __future__ import annotations

from blockio.write_log import LogFlag, entries_in, read_log
from reference_backend.driver import QbdDriver
from reference_backend.memory_pool import MemoryPool
from reference_backend.pool import VolumeOptions
from reference_backend.server import Server

__all__ = [
    "LogFlag",
    "MemoryPool",
    "QbdDriver",
    "Server",
    "VolumeOptions",
    "entries_in",
    "read_log",
]

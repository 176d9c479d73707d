"""What a case does in a guest, and the parsers of what programs there print."""

from __future__ import annotations

from qbdcheck.guest.agent import Running
from qbdcheck.guest.blktrace import dropped, parse_btt, parse_events, parse_totals
from qbdcheck.guest.devices import Device
from qbdcheck.guest.file_set import FileSet
from qbdcheck.guest.iostat import parse_iostat
from qbdcheck.guest.runtest import FILE_SYSTEMS, parse
from qbdcheck.guest.synced_files import SyncedFiles

__all__ = [
    "FILE_SYSTEMS",
    "Device",
    "FileSet",
    "Running",
    "SyncedFiles",
    "dropped",
    "parse",
    "parse_btt",
    "parse_events",
    "parse_iostat",
    "parse_totals",
]

"""The log of a guest's serial console, and the lines in it that report trouble."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

LATE = ("blocked for more than", "soft lockup", "rcu_sched self-detected stall")
"""Messages of a kernel that waits too long. A starved host is a reason too."""
FATAL = (
    "Kernel panic", "BUG:", "Oops:", "general protection fault", "Out of memory:", *LATE,
)  # fmt: skip
"""Messages of a kernel that is broken or stuck. No case expects them."""
DISK_ERRORS = (
    "I/O error", "EXT4-fs error", "EXT4-fs warning", "Aborting journal", "Remounting filesystem",
    "Corruption detected", "Corruption warning", "Internal error", "metadata I/O error",
    "log I/O error", "Filesystem has been shut down", "Critical medium error", "Buffer I/O error",
    "critical medium error", "critical space allocation error", "critical target error",
)  # fmt: skip
"""Messages about a disk that failed. Cases that inject faults list those that they expect."""
_COLOURS = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


def lines(path: Path) -> list[str]:
    """Return the lines of a console's log; [] if there is none yet."""
    try:
        text = path.read_text(encoding="utf-8", errors="backslashreplace")
    except FileNotFoundError:
        return []
    return _COLOURS.sub("", text).replace("\r", "").splitlines()


def are_late(bad: Iterable[str]) -> bool:
    """Return whether all these lines only say that something takes too long."""
    return all(any(late in line for late in LATE) for line in bad)


def bad_lines(printed: Iterable[str], expected: Iterable[str] = ()) -> list[str]:
    """Return the lines that report trouble and have none of the expected words."""
    words = tuple(expected)
    return [
        line
        for line in printed
        if any(bad in line for bad in (*FATAL, *DISK_ERRORS))
        and not any(word in line for word in words)
    ]

"""What a guest's kernel says on its serial console: which lines are bad news."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

FATAL = (
    "Kernel panic", "BUG:", "Oops:", "general protection fault", "Out of memory:",
    "blocked for more than", "soft lockup", "rcu_sched self-detected stall",
)  # fmt: skip
"""Of a kernel that is broken or stuck; no case expects these."""
DISK_ERRORS = (
    "I/O error", "EXT4-fs error", "EXT4-fs warning", "Aborting journal", "Remounting filesystem",
    "Corruption detected", "Corruption warning", "Internal error", "metadata I/O error",
    "log I/O error", "Filesystem has been shut down", "Critical medium error", "Buffer I/O error",
    "critical medium error", "critical space allocation error", "critical target error",
)  # fmt: skip
"""Of a disk that failed; cases that inject faults say that they expect them."""
_COLOURS = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


def lines(path: Path) -> list[str]:
    """Return the lines of a console's log; [] where there is none yet."""
    try:
        text = path.read_text(encoding="utf-8", errors="backslashreplace")
    except FileNotFoundError:
        return []
    return _COLOURS.sub("", text).replace("\r", "").splitlines()


def bad_lines(said: Iterable[str], expected: Iterable[str] = ()) -> list[str]:
    """Return the lines that tell of trouble, but for those that have one of the expected words."""
    words = tuple(expected)
    return [
        line
        for line in said
        if any(bad in line for bad in (*FATAL, *DISK_ERRORS))
        and not any(word in line for word in words)
    ]

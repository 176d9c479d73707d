"""The runner's only user of ``time``: a monotonic clock for limits, the wall clock for reports."""

from __future__ import annotations

import time


def now_s() -> float:
    """Seconds of the monotonic clock, for durations and limits."""
    return time.monotonic()


def wall_s() -> float:
    """Seconds since the epoch, for reports."""
    return time.time()


def local_stamp(seconds: float) -> str:
    """`seconds` since the epoch as ``20261123-022100`` in local time, for names of directories."""
    return time.strftime("%Y%m%d-%H%M%S", time.localtime(seconds))


def pause(seconds: float) -> None:
    """Give way for `seconds` inside a loop that waits for a condition which sends no event."""
    time.sleep(seconds)

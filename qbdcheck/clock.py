"""The clocks of the runner; no other module of it imports ``time``."""

from __future__ import annotations

import time


def now_s() -> float:
    """Return the seconds of the monotonic clock, for durations and limits."""
    return time.monotonic()


def thread_cpu_s() -> float:
    """Return the CPU time that this thread has used, in seconds."""
    return time.thread_time()


def process_cpu_s(pid: int) -> float:
    """Return the CPU time of a process in seconds, also of its threads that have ended.

    The resolution is a nanosecond (clock_getcpuclockid(3)); /proc/PID/stat has 10 ms.

    :raise ProcessLookupError: there is no such process.
    """
    try:
        return time.clock_gettime(~pid << 3 | 2)
    except OSError:
        raise ProcessLookupError(f"no process {pid}") from None


def wall_s() -> float:
    """Return the seconds since the epoch, for reports."""
    return time.time()


def local_stamp(seconds: float) -> str:
    """Return `seconds` since the epoch as local time, ``20261123-022100``, for directory names."""
    return time.strftime("%Y%m%d-%H%M%S", time.localtime(seconds))


def pause(seconds: float) -> None:
    """Sleep for `seconds` in a loop that polls a condition."""
    time.sleep(seconds)


def date(seconds: float) -> str:
    """Return the local date of a time since the epoch, as YYYY-MM-DD."""
    return time.strftime("%Y-%m-%d", time.localtime(seconds))

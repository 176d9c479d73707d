"""Count what a case did, in its process: faults that fired, crash states, bytes written twice.

The counts are in the result of the case, and certificates have their sums.
"""

from __future__ import annotations

from collections import Counter

FAULTS = "faults_fired"
CRASH_STATES = "crash_states_judged"
CRASH_STATES_OF = "crash_states_different"
DUAL_BYTES = "dual_write_bytes"
DUAL_REQUESTS = "dual_write_requests"

_counts: Counter[str] = Counter()


def count(name: str, number: int) -> None:
    """Add `number` (>= 0) to a count of this case."""
    if number:
        _counts[name] += number


def count_dual_write(requests: int, length: int) -> None:
    """Add requests that went to both sides, and the bytes that they read and wrote."""
    count(DUAL_REQUESTS, requests)
    count(DUAL_BYTES, length)


def counted() -> dict[str, int]:
    """Return the counts of this case."""
    return dict(_counts)

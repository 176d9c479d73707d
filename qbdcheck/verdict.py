"""Verdicts of cases and outcomes of operations: enums, never strings."""

from __future__ import annotations

import enum


class Verdict(enum.Enum):
    """What a case said of the target. Worst first when several are merged."""

    FAIL = "fail"
    """The target, or QEMU above it, broke a property."""
    BROKEN = "broken"
    """The case itself cannot be trusted: it crashed, its fault did not fire, it saw nothing."""
    PASS = "pass"  # noqa: S105
    NOT_RUN = "not run"
    """Not run, for a stated reason."""

    @property
    def is_bad(self) -> bool:
        """True where the run must not be green."""
        return self in (Verdict.FAIL, Verdict.BROKEN)


class Outcome(enum.Enum):
    """What became of one operation (Jepsen's ok, fail and info)."""

    OK = "ok"
    FAILED = "failed"
    UNKNOWN = "unknown"
    """After an error in flight or a time-out: the old and the new data are both right."""

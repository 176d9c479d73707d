"""Verdicts of cases and outcomes of operations: enums, never strings."""

from __future__ import annotations

import enum


class Verdict(enum.Enum):
    """The result of a case. The worst comes first; it wins when several are merged."""

    FAIL = "fail"
    """The target, or QEMU above it, broke a property."""
    BROKEN = "broken"
    """Nothing is known: the case failed itself, its fault did not fire, or no server started."""
    PASS = "pass"  # noqa: S105
    NOT_RUN = "not run"
    """Not run, for a stated reason."""

    @property
    def is_bad(self) -> bool:
        """Whether the run must fail."""
        return self in (Verdict.FAIL, Verdict.BROKEN)


class Outcome(enum.Enum):
    """The outcome of one operation (Jepsen's ok, fail and info)."""

    OK = "ok"
    FAILED = "failed"
    UNKNOWN = "unknown"
    """After an error in flight or a time-out: the old and the new data are both right."""

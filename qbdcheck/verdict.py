"""Verdicts of cases and outcomes of operations."""

from __future__ import annotations

import enum


class Verdict(enum.Enum):
    """The result of a case. When results are merged, the first in this order wins."""

    FAIL = "fail"
    """The target, or QEMU above it, violated a property."""
    BROKEN = "broken"
    """Nothing is proved: the case crashed, its fault did not fire, or no server started."""
    KNOWN = "known"
    """The target failed as its baseline says (--baseline)."""
    PASS = "pass"  # noqa: S105
    NOT_RUN = "not run"
    """Not run, for a stated reason."""

    @property
    def is_bad(self) -> bool:
        """Whether the run must not be green."""
        return self in (Verdict.FAIL, Verdict.BROKEN)


class Outcome(enum.Enum):
    """The outcome of an operation (ok, fail and info of Jepsen)."""

    OK = "ok"
    FAILED = "failed"
    UNKNOWN = "unknown"
    """After an error in flight or a time-out: both the old and the new data are correct."""

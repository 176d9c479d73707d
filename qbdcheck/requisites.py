"""Decides before a case starts whether it can run at all: format, programs, capabilities."""

from __future__ import annotations

from collections.abc import Callable, Collection

from qbdcheck.requirements import format_mismatch, missing_capabilities, missing_programs
from qbdcheck.unit import Result, Unit
from qbdcheck.verdict import Verdict


def decide_before(
    unit: Unit, capabilities: Callable[[], Collection[str] | None]
) -> Result | None:
    """Not run with all reasons, broken, or None: then only running it will tell.

    :param capabilities: what the target was found able to do; None where nobody knows.
    """
    case = unit.case
    if case.broken:
        return Result(Verdict.BROKEN, case.broken)
    reasons = format_mismatch(case.spec.formats, unit.image_format)
    reasons += missing_programs(case.spec.programs)
    if case.spec.requires and not reasons and (available := capabilities()) is not None:
        reasons += missing_capabilities(case.spec.requires, available)
    return Result(Verdict.NOT_RUN, reasons=tuple(reasons)) if reasons else None

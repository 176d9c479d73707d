"""Decides before a case starts whether it can run at all: format, programs, capabilities."""

from __future__ import annotations

from collections.abc import Collection

from qbdcheck.case import CaseInfo
from qbdcheck.programs.installed import Programs
from qbdcheck.requirements import format_mismatch, missing_capabilities
from qbdcheck.unit import Result
from qbdcheck.verdict import Verdict


def decide_before(
    case: CaseInfo, image_format: str, capabilities: Collection[str], programs: Programs
) -> Result | None:
    """Not run with all reasons, broken, or None: then only running it will tell.

    :param capabilities: what the target was found able to do.
    :param programs: finds what ``programs=`` names.
    """
    if case.broken:
        return Result(Verdict.BROKEN, case.broken)
    reasons = [
        *format_mismatch(case.spec.formats, image_format),
        *(programs.missing(name) for name in case.spec.programs if programs.path(name) is None),
        *missing_capabilities(case.spec.requires, capabilities),
    ]
    return Result(Verdict.NOT_RUN, reasons=tuple(reasons)) if reasons else None

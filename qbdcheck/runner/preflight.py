"""Decide before a case starts whether it can run: image format, programs, capabilities."""

from __future__ import annotations

import ast
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from qbdcheck.catalogue.capability_words import format_mismatch, missing_capabilities
from qbdcheck.catalogue.case import CaseInfo
from qbdcheck.programs.installed import Programs
from qbdcheck.verdict import Verdict

if TYPE_CHECKING:
    from qbdcheck.runner.case_run import Result

_OF_DISKS = ("qemu-img", "qemu-io")
"""Programs that fill and compare disks."""
OF_FIXTURES: Mapping[str, tuple[str, ...]] = {
    "disk": _OF_DISKS,
    "new_disk": _OF_DISKS,
    "qemu_img": ("qemu-img",),
    "qemu_io": ("qemu-io",),
    "storage_daemon": ("qemu-storage-daemon",),
    "vm": ("qemu-system-x86_64",),
    "machine": ("qemu-system-x86_64",),
}
"""Programs that a fixture requires."""


def programs_of(case: CaseInfo) -> list[str]:
    """Return the programs that a case declares and those of its fixtures, each once."""
    named = fixtures_of(case.path)
    of_fixtures = (program for name in named for program in OF_FIXTURES.get(name, ()))
    return list(dict.fromkeys([*case.spec.programs, *of_fixtures]))


def fixtures_of(path: Path) -> list[str]:
    """Return the arguments of the function ``test`` of the case at `path`; [] if unreadable."""
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return []
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name == "test":
            return [argument.arg for argument in node.args.args + node.args.kwonlyargs]
    return []


def decide_before(
    case: CaseInfo, image_format: str, capabilities: Collection[str], programs: Programs
) -> Result | None:
    """Return "not run" with all reasons, "broken", or None if the case can start.

    :param capabilities: the probed capabilities of the target.
    :param programs: finds the programs of the case and of its fixtures.
    """
    from qbdcheck.runner.case_run import Result  # needs pytest, which the doctor may not have

    if case.broken:
        return Result(Verdict.BROKEN, case.broken)
    reasons = [
        *format_mismatch(case.spec.formats, image_format),
        *missing_capabilities(case.spec.requires, capabilities),
        *_excluded(case, capabilities),
        *(programs.missing(name) for name in _needed(case, programs) if not programs.path(name)),
    ]
    return Result(Verdict.NOT_RUN, reasons=tuple(reasons)) if reasons else None


def _excluded(case: CaseInfo, capabilities: Collection[str]) -> list[str]:
    """Return why a target of a special kind excludes a case that was not made for that kind.

    No client can write a read-only target. Where each connection has a volume of its own, the next
    program does not find what the last one wrote.
    """
    reasons = []
    requires = case.spec.requires
    if "refuses_writes" in capabilities and not (
        "reading" in case.spec.groups or "refuses_writes" in requires
    ):
        reasons.append("the target is read-only")
    if "volume_per_connection" in capabilities and "volume_per_connection" not in requires:
        reasons.append("the target gives each connection a volume of its own")
    return reasons


def _needed(case: CaseInfo, programs: Programs) -> list[str]:
    """Return the programs to check; the case is read again only if a QEMU program is missing."""
    of_qemu = {name for names in OF_FIXTURES.values() for name in names}
    if all(programs.path(name) for name in of_qemu):
        return list(case.spec.programs)
    return programs_of(case)

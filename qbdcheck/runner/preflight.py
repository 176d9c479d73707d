"""Decides before a case starts whether it can run at all: format, programs, capabilities."""

from __future__ import annotations

import ast
from collections.abc import Collection, Mapping
from pathlib import Path

from qbdcheck.catalogue.capability_words import format_mismatch, missing_capabilities
from qbdcheck.catalogue.case import CaseInfo
from qbdcheck.programs.installed import Programs
from qbdcheck.runner.case_run import Result
from qbdcheck.verdict import Verdict

_OF_DISKS = ("qemu-img", "qemu-io")
"""A disk is prefilled and compared with these."""
OF_FIXTURES: Mapping[str, tuple[str, ...]] = {
    "disk": _OF_DISKS,
    "new_disk": _OF_DISKS,
    "qemu_img": ("qemu-img",),
    "qemu_io": ("qemu-io",),
    "storage_daemon": ("qemu-storage-daemon",),
    "vm": ("qemu-system-x86_64",),
    "machine": ("qemu-system-x86_64",),
}
"""The programs without which a case that names a fixture does not run."""


def programs_of(case: CaseInfo) -> list[str]:
    """The programs that a case declares, and those of the fixtures that it names; each once."""
    named = fixtures_of(case.path)
    of_fixtures = (program for name in named for program in OF_FIXTURES.get(name, ()))
    return list(dict.fromkeys([*case.spec.programs, *of_fixtures]))


def fixtures_of(path: Path) -> list[str]:
    """The arguments of the function ``test`` of the case at `path`; none where it is unreadable."""
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
    """Not run with all reasons, broken, or None: then only running it will tell.

    :param capabilities: what the target was found able to do.
    :param programs: finds what ``programs=`` names, and what the fixtures need.
    """
    if case.broken:
        return Result(Verdict.BROKEN, case.broken)
    reasons = [
        *format_mismatch(case.spec.formats, image_format),
        *(programs.missing(name) for name in _needed(case, programs) if not programs.path(name)),
        *missing_capabilities(case.spec.requires, capabilities),
    ]
    return Result(Verdict.NOT_RUN, reasons=tuple(reasons)) if reasons else None


def _needed(case: CaseInfo, programs: Programs) -> list[str]:
    """Programs of which one may be missing; the case is read again only where one of QEMU is."""
    of_qemu = {name for names in OF_FIXTURES.values() for name in names}
    if all(programs.path(name) for name in of_qemu):
        return list(case.spec.programs)
    return programs_of(case)

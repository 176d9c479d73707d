"""Which cases need which program: from what they declare and from the fixtures that they name."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

from qbdcheck.case import CaseInfo

OF_EVERY_CASE = ("qemu-img", "qemu-io")
"""A disk is prefilled and compared with these."""
OF_FIXTURES: Mapping[str, str] = {
    "storage_daemon": "qemu-storage-daemon",
    "vm": "qemu-system-x86_64",
    "machine": "qemu-system-x86_64",
}


def cases_by_program(cases: Iterable[CaseInfo]) -> dict[str, list[CaseInfo]]:
    """For each program the cases that do not run without it."""
    needing: dict[str, list[CaseInfo]] = defaultdict(list)
    for one in cases:
        programs = {*OF_EVERY_CASE, *one.spec.programs}
        programs |= {OF_FIXTURES[name] for name in fixtures_of(one.path) if name in OF_FIXTURES}
        for program in programs:
            needing[program].append(one)
    return dict(needing)


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


def number_ranges(numbers: Iterable[int]) -> str:
    """``001-004 017``: numbers in order, runs of three and more as ranges."""
    runs: list[list[int]] = []
    for number in sorted(set(numbers)):
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    words: list[str] = []
    for run in runs:
        if len(run) > 2:
            words.append(f"{run[0]:03d}-{run[-1]:03d}")
        else:
            words += [f"{number:03d}" for number in run]
    return " ".join(words)

"""Examine the machine, print tables, and return whether the quick group can run."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from qbdcheck.bootstrap.system_packages import PROGRAMS, fix_command
from qbdcheck.catalogue.case import CaseInfo
from qbdcheck.catalogue.catalogue import list_cases
from qbdcheck.catalogue.groups import QUICK
from qbdcheck.commands.doctor.cost import cases_by_program, number_ranges
from qbdcheck.exit_code import ExitCode
from qbdcheck.files import COMMAND
from qbdcheck.programs.accelerator import LIMIT_S, Accelerator, probe_accelerator
from qbdcheck.programs.qemu_version import VERIFIED_QEMU, is_verified
from qbdcheck.report.host import Fact, host_facts
from qbdcheck.report.versions import Installed, inspect_program

_PLAIN_WIDTH = 120


@dataclass(frozen=True)
class Findings:
    """The results of the examination."""

    programs: Sequence[Installed]
    needing: Mapping[str, Sequence[CaseInfo]]
    facts: Sequence[Fact]
    accelerators: Sequence[Accelerator]
    case_count: int

    @property
    def faulty(self) -> list[Installed]:
        """The programs that cases cannot use."""
        return [program for program in self.programs if not program.is_usable]

    def lost(self, group: str = "") -> list[CaseInfo]:
        """Return the cases that cannot run because a program is missing, of one group or of all."""
        lost = {
            one.number: one
            for program in self.faulty
            for one in self.needing.get(program.name, ())
            if not group or group in one.spec.groups
        }
        return [lost[number] for number in sorted(lost)]

    @property
    def can_run_quick(self) -> bool:
        """Whether there are cases, and each case of the quick group has its programs."""
        return self.case_count > 0 and not self.lost(QUICK)


def examine(suites_dir: Path, scratch: Path, probe_limit_s: float = LIMIT_S) -> Findings:
    """Examine programs, machine and accelerators. This takes four seconds if KVM hangs.

    :raise UsageError: the suites directory is missing.
    """
    cases = list_cases(suites_dir)
    return Findings(
        programs=[inspect_program(name) for name in PROGRAMS],
        needing=cases_by_program(cases),
        facts=host_facts(scratch),
        accelerators=[probe_accelerator(name, probe_limit_s) for name in ("kvm", "tcg")],
        case_count=len(cases),
    )


def print_findings(findings: Findings, stream: TextIO) -> None:
    """Print the tables, then the command that installs what is missing."""
    is_terminal = stream.isatty()
    width = None if is_terminal else _PLAIN_WIDTH
    console = Console(file=stream, highlight=False, width=width, no_color=not is_terminal)
    console.print(_program_table(findings))
    console.print(_machine_table(findings))
    for line in closing_lines(findings):
        console.print(line, soft_wrap=True)


def closing_lines(findings: Findings) -> list[Text]:
    """Return the cases that cannot run, how to fix that, and whether the quick group can run."""
    lines = [_verified_line(findings.programs)]
    if lost := findings.lost():
        numbers = number_ranges(one.number for one in lost)
        lines.append(Text(f"Not run here: {len(lost)} of {findings.case_count} cases: {numbers}"))
    missing = [program.name for program in findings.faulty if program.path is None]
    if missing:
        lines.append(Text(f"To install what is missing: {fix_command(missing)}"))
        lines.append(Text(f"   or, as root or with sudo: {COMMAND} --install"))
    for program in findings.faulty:
        if program.path is not None:
            lines.append(Text(f"{program.name} ({program.path}): {program.fault}", "red"))  # noqa: PERF401
    if findings.can_run_quick:
        lines.append(Text(f"The quick group can run: {COMMAND}", "bold green"))
    elif not findings.case_count:
        lines.append(Text("There is no case to run", "bold red"))
    else:
        lost_quick = number_ranges(one.number for one in findings.lost(QUICK))
        lines.append(Text(f"The quick group cannot run as a whole: {lost_quick}", "bold red"))
    return lines


def _verified_line(programs: Sequence[Installed]) -> Text:
    """Return the line that names the verified versions of QEMU, and whether this is one."""
    listed = ", ".join(f"{version} ({system})" for version, system in VERIFIED_QEMU.items())
    line = f"This release was verified with QEMU {listed}"
    found = next((each.version for each in programs if each.name == "qemu-img"), "")
    if not found or is_verified(found):
        return Text(line)
    return Text(f"{line}; not with {found}, which is installed", "yellow")


def _program_table(findings: Findings) -> Table:
    table = Table(title="Programs", title_justify="left")
    for column in ("program", "version", "needed", "for", "cases", "state"):
        table.add_column(column, overflow="fold")
    for program in findings.programs:
        package = PROGRAMS[program.name]
        state = Text("ok", "green") if program.is_usable else Text(program.fault, "red")
        table.add_row(
            program.name,
            program.version or "-",
            package.minimum or "any",
            package.why,
            str(len(findings.needing.get(program.name, ()))),
            state,
        )
    return table


def _machine_table(findings: Findings) -> Table:
    table = Table(title="Machine", title_justify="left")
    for column in ("what", "found", "consequence"):
        table.add_column(column, overflow="fold")
    for fact in findings.facts:
        table.add_row(fact.name, Text(fact.value, "" if fact.is_good else "yellow"), fact.cost)
    for each in findings.accelerators:
        cost = "" if each.works else _ACCELERATOR_COST[each.name]
        table.add_row(each.name.upper(), Text(str(each), "green" if each.works else "yellow"), cost)
    return table


_ACCELERATOR_COST = {"kvm": "guests run under TCG, slower", "tcg": "no guest runs without KVM"}


def main(suites_dir: Path, stream: TextIO | None = None, probe_limit_s: float = LIMIT_S) -> int:
    """Print the tables; return 0 if the quick group can run, else 2.

    :raise UsageError: the suites directory is missing.
    """
    findings = examine(suites_dir, Path(tempfile.gettempdir()), probe_limit_s)
    print_findings(findings, stream or sys.stdout)
    return ExitCode.GREEN if findings.can_run_quick else ExitCode.USAGE

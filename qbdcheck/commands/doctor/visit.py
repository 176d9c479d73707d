"""Examine the machine, print tables, and return whether the quick group can run.

Nothing here needs more than Python: the doctor is what people ask when something is missing.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from qbdcheck.bootstrap.install import missing_modules
from qbdcheck.bootstrap.system_packages import PROGRAMS, setup_command
from qbdcheck.catalogue.case import CaseInfo
from qbdcheck.catalogue.catalogue import list_cases
from qbdcheck.catalogue.groups import QUICK
from qbdcheck.catalogue.qemu_bugs import QEMU_BUGS, WHERE
from qbdcheck.commands.doctor.cost import cases_by_program, number_ranges
from qbdcheck.commands.doctor.page import Sheet, Styled, show
from qbdcheck.exit_code import ExitCode
from qbdcheck.files import COMMAND
from qbdcheck.programs.accelerator import LIMIT_S, Accelerator, probe_accelerator
from qbdcheck.programs.qemu_version import VERIFIED_QEMU, is_verified
from qbdcheck.report.host import Fact, host_facts
from qbdcheck.report.versions import Installed, inspect_program


@dataclass(frozen=True)
class Findings:
    """The results of the examination."""

    programs: Sequence[Installed]
    needing: Mapping[str, Sequence[CaseInfo]]
    facts: Sequence[Fact]
    accelerators: Sequence[Accelerator]
    case_count: int
    missing_packages: Sequence[str] = ()
    """Python packages that qbdcheck itself needs."""

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
        return self.case_count > 0 and not self.lost(QUICK) and not self.missing_packages


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
        missing_packages=missing_modules(),
    )


def print_findings(findings: Findings, stream: TextIO) -> None:
    """Print the tables, then the command that installs what is missing."""
    show([_program_table(findings), _machine_table(findings)], closing_lines(findings), stream)


def closing_lines(findings: Findings) -> list[Styled]:
    """Return the cases that cannot run, how to fix that, and whether the quick group can run."""
    lines = [_verified_line(findings.programs), *_known_bugs(findings.programs)]
    if lost := findings.lost():
        numbers = number_ranges(one.number for one in lost)
        lines.append(Styled(f"Not run here: {len(lost)} of {findings.case_count} cases: {numbers}"))
    if findings.missing_packages:
        named = ", ".join(findings.missing_packages)
        lines.append(Styled(f"Python packages are missing: {named}", "red"))
    is_incomplete = any(program.path is None for program in findings.faulty)
    if is_incomplete or (findings.missing_packages and setup_command()):
        lines.append(Styled(f"To install what is missing: {setup_command()}"))
        lines.append(Styled(f"   or, as root or with sudo: {COMMAND} --install"))
    elif findings.missing_packages:
        lines.append(Styled(f"To install them: {COMMAND} --install"))
    for program in findings.faulty:
        if program.path is not None:
            lines.append(Styled(f"{program.name} ({program.path}): {program.fault}", "red"))  # noqa: PERF401
    if findings.can_run_quick:
        lines.append(Styled(f"The quick group can run: {COMMAND}", "bold green"))
    elif not findings.case_count:
        lines.append(Styled("There is no case to run", "bold red"))
    elif findings.lost(QUICK):
        lost_quick = number_ranges(one.number for one in findings.lost(QUICK))
        lines.append(Styled(f"The quick group cannot run as a whole: {lost_quick}", "bold red"))
    return lines


def _verified_line(programs: Sequence[Installed]) -> Styled:
    """Return the line that names the verified versions of QEMU, and whether this is one."""
    listed = ", ".join(f"{version} ({system})" for version, system in VERIFIED_QEMU.items())
    line = f"This release was verified with QEMU {listed}"
    found = _qemu(programs)
    if not found or is_verified(found):
        return Styled(line)
    return Styled(f"{line}; not with {found}, which is installed", "yellow")


def _qemu(programs: Sequence[Installed]) -> str:
    """Return the version of QEMU that is installed; "" for none."""
    return next((each.version for each in programs if each.name == "qemu-img"), "")


def _known_bugs(programs: Sequence[Installed]) -> list[Styled]:
    """Return the line that names the cases which find bugs that this QEMU may have, if any."""
    found = _qemu(programs)
    bugs = [bug for bug in QEMU_BUGS if found and bug.is_in(found)]
    if not bugs:
        return []
    cases = number_ranges(sorted({bug.case for bug in bugs}))
    line = f"QEMU {found} may have bugs that these cases find, which later releases fixed: {cases}"
    return [Styled(f"{line} ({WHERE})", "yellow")]


def _program_table(findings: Findings) -> Sheet:
    rows = []
    for program in findings.programs:
        package = PROGRAMS[program.name]
        state = Styled("ok", "green") if program.is_usable else Styled(program.fault, "red")
        plain = (
            program.name,
            program.version or "-",
            package.minimum or "any",
            package.why,
            str(len(findings.needing.get(program.name, ()))),
        )
        rows.append([*map(Styled, plain), state])
    return Sheet("Programs", ("program", "version", "needed", "for", "cases", "state"), rows)


def _machine_table(findings: Findings) -> Sheet:
    rows = [
        [Styled(fact.name), Styled(fact.value, "" if fact.is_good else "yellow"), Styled(fact.cost)]
        for fact in findings.facts
    ]
    for each in findings.accelerators:
        found = Styled(str(each), "green" if each.works else "yellow")
        cost = "" if each.works else _ACCELERATOR_COST[each.name]
        rows.append([Styled(each.name.upper()), found, Styled(cost)])
    return Sheet("Machine", ("what", "found", "consequence"), rows)


_ACCELERATOR_COST = {"kvm": "guests run under TCG, slower", "tcg": "no guest runs without KVM"}


def main(
    suites_dir: Path,
    stream: TextIO | None = None,
    probe_limit_s: float = LIMIT_S,
    scratch: str | None = None,
) -> int:
    """Print the tables; return 0 if the quick group can run, else 2.

    :param scratch: the directory for temporary files that is examined; by default `tempfile`'s.
    :raise UsageError: the suites directory is missing.
    """
    findings = examine(suites_dir, Path(scratch or tempfile.gettempdir()), probe_limit_s)
    print_findings(findings, stream or sys.stdout)
    return ExitCode.GREEN if findings.can_run_quick else ExitCode.USAGE

"""fio in a guest: takes options and job files, returns typed results and dumps of wrong blocks."""

from __future__ import annotations

import contextlib
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from oracles.finding import Finding, Findings
from qbdcheck.errors import CaseBroken, ProgramError
from qbdcheck.guest.agent import Running
from qbdcheck.guest.fio import parse
from qbdcheck.guest.fio_messages import signals
from qbdcheck.guest.fio_result import FioOutputError, FioResult, VerifyFailure
from qbdcheck.guest.guest import Guest
from qbdcheck.guest.second_read import findings_of
from qbdcheck.guest.serial_shell import SerialRunning

RUN_S = 180.0
_PLACE = "/tmp/fio"
_DUMPS = 32
"""Dumps that are kept. A disk that is wrong everywhere has two for each block."""
_DUMPED = 4 << 20
"""Bytes of dumps that are kept, and at least one dump."""
_PREPARE = (
    f"mkdir -p {_PLACE}; grep -q ' {_PLACE} ' /proc/mounts"
    f" || mount -t tmpfs -o size=16m dumps {_PLACE} 2>/dev/null"
)
"""Dumps are kept in memory of the guest, and a disk that is wrong everywhere would fill it."""
_OPTION = f"$(grep -q ' {_PLACE} ' /proc/mounts && echo --verify_dump=1)"
"""Before the first job, so that a job may set it to 0."""
_BY_SIGNAL = 128
"""A shell's status for a program that a signal ended, minus the signal."""
_REFUSED = re.compile(
    r"Bad option <|failed parsing |unrecognized option|not loadable|No job\(s\) defined"
    r"|no jobs? defined|not a valid|illegal value|unable to open '.*' job file"
)


class WrongBlocks(AssertionError):  # noqa: N818  # an outcome
    """fio found blocks that do not hold what it wrote."""

    def __init__(self, text: str, findings: Sequence[Finding]) -> None:
        first = findings[0] if findings else None
        compared = first is not None and first.difference and first.difference.expected
        told = [first.line] if first is not None and compared else []
        super().__init__("\n".join([text, *told, *(first.evidence if first else ())]))
        self.findings = findings


@dataclass
class FioRun:
    """A run that ended: what fio printed, and where its dumps are on the host.

    :ivar findings: the wrong blocks that are on a disk of the guest.
    """

    status: int
    result: FioResult
    output: str
    errors: str
    dumps: list[Path] = field(default_factory=list)
    findings: Findings = field(default_factory=Findings)

    def must_be_clean(self) -> FioResult:
        """Return the result.

        :raise WrongBlocks: fio found wrong data; names the first block.
        :raise AssertionError: fio ended with an error.
        :raise CaseBroken: a process of fio died, so that not all was done.
        """
        wrong = self.result.failures
        if wrong:
            raise WrongBlocks(
                f"fio in the guest: {wrong[0]}; wrong blocks in all: {len(wrong)}", self.findings
            )
        if self.result.signals:
            raise CaseBroken(f"a process of fio died by signal {self.result.signals[0]}")
        if self.status or self.result.error:
            reported = self.errors.strip() or f"error {self.result.error}"
            raise AssertionError(f"fio in the guest ended with {self.status}: {reported[:500]}")
        return self.result


class FioRunning:
    """A run of fio in the background, which may not have ended."""

    def __init__(self, fio: Fio, running: Running | SerialRunning) -> None:
        self._fio = fio
        self._running = running

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self._running.is_running

    def wait(self, within_s: float = RUN_S) -> FioRun:
        """Wait for its end and return what it printed.

        :raise TimeoutError: it did not end in time; it is killed.
        :raise FioOutputError: it has no result.
        """
        ran = self._running.wait(within_s)
        return self._fio.finished(ran.status, ran.output, ran.errors)


class Fio:
    """Runs fio in one guest.

    :param keep: a directory of the host for its output and for dumps of wrong blocks.
    """

    def __init__(self, guest: Guest, keep: Path) -> None:
        self._guest = guest
        self._keep = keep
        self._runs = 0

    def __call__(self, *arguments: str, file: str = "", within_s: float = RUN_S) -> FioRun:
        """Run fio to its end.

        :param arguments: arguments; --output-format is set already.
        :param file: the text of a job file, which comes after the arguments.
        :param within_s: seconds until it is killed.
        :raise GuestFailed: it did not end in time, or the guest died.
        :raise FioOutputError: fio refused its options, or has no result; has what it printed.
        """
        ran = self._guest.execute(self._line(arguments, file), within_s)
        return self.finished(ran.status, ran.output, ran.errors)

    def begin(self, *arguments: str, file: str = "") -> FioRunning:
        """Start fio in the background."""
        return FioRunning(self, self._guest.begin(self._line(arguments, file)))

    def _line(self, arguments: tuple[str, ...], file: str) -> str:
        line = [*arguments]
        if file:
            self._guest.run(f"{_PREPARE}; true")
            self._guest.write_file(f"{_PLACE}/job.fio", file)
            line.append(f"{_PLACE}/job.fio")
        fio = f"fio --output-format=json+ {_OPTION} {shlex.join(line)}"
        return f"{_PREPARE}; cd {_PLACE}; {fio}"

    def finished(self, status: int, output: str, errors: str) -> FioRun:
        """Return the result of a run, and fetch its dumps.

        :raise FioOutputError: it has no result.
        """
        self._runs += 1
        name = f"{self._guest.name}.fio{self._runs}"
        (self._keep / f"{name}.json").write_text(output, encoding="utf-8")
        (self._keep / f"{name}.err").write_text(errors, encoding="utf-8")
        try:
            run = FioRun(status, parse(output, errors), output, errors)
        except FioOutputError as error:
            raise _without_result(status, output, errors, str(error)) from None
        dumps = self._dumps(run.result.failures)
        for dump, data in dumps.items():
            path = self._keep / f"{name}.{PurePosixPath(dump).name}"
            path.write_bytes(data)
            run.dumps.append(path)
        guest = self._guest
        run.findings = Findings(
            findings_of(run.result.failures, guest.disks, guest.programs, self._keep, dumps)
        )
        return run

    def _dumps(self, failures: Sequence[VerifyFailure]) -> dict[str, bytes]:
        """Return the first dumps by the name that fio printed, and remove all from the guest."""
        names = [dump for failure in failures for dump in failure.dumps]
        found: dict[str, bytes] = {}
        for dump in dict.fromkeys(names[:_DUMPS]):
            with contextlib.suppress(ProgramError):
                found[dump] = self._guest.read_file(str(PurePosixPath(_PLACE) / dump))
            if sum(map(len, found.values())) >= _DUMPED:
                break
        kinds = {PurePosixPath(dump).suffix for dump in names}
        if kinds:
            every = " ".join(f"{_PLACE}/*{kind}" for kind in sorted(kinds))
            self._guest.execute(f"rm -f {every}")
        return found


def _without_result(status: int, output: str, errors: str, reason: str) -> FioOutputError:
    reported = errors.strip() or output.strip() or reason
    died = status > _BY_SIGNAL or bool(signals(f"{output}\n{errors}"))
    refused = not died and _REFUSED.search(f"{output}\n{errors}") is not None
    how = f"died by signal {status - _BY_SIGNAL}" if status > _BY_SIGNAL else f"ended with {status}"
    return FioOutputError(f"fio {how}: {reported[-800:]}", refused=refused)

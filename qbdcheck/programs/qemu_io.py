"""A long-lived qemu-io on a pipe: 0.2 ms per command, where a new qemu-io takes 8 ms.

qemu-io prints its prompt whenever it waits for a command (qemu-io.c: command_loop). So a prompt at
the start of a line ends the output of a command. A failed ``flush`` prints nothing. Only the exit
status shows it: the status is 1 if any command failed.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from oracles.history import History
from qbdcheck import answers
from qbdcheck.errors import ProgramError
from qbdcheck.machine_speed import Limit
from qbdcheck.programs.at_work import AtWork
from qbdcheck.programs.closing import CloseOrAbandon
from qbdcheck.programs.process import Process, describe_exit, tail
from qbdcheck.programs.qemu_io_output import Report, looks_failed, parse_map, parse_reports
from qbdcheck.programs.requests_sent import OK, Sent, note

PROMPT = b"qemu-io> "
COMMAND_MAX = 1000
"""Longest command line in bytes; qemu-io reads lines of 1024 bytes."""
_READ_SIZE = 1 << 20
_PLACE = re.compile(r" (\d+) (\d+)$")
"""Offset and length, which end a data command."""
_COMPLETIONS = ("aio_write failed: ", "readv failed: ")
"""First words of the message of a failed aio request (aio_write_done, aio_read_done)."""


class IoFailed(ProgramError):  # noqa: N818  # an outcome that cases expect
    """A request failed. ``reason`` is the text of the errno: ``No space left on device``."""

    reason: str = ""


def _find_prompt(buffer: bytearray, start: int) -> int | None:
    """Return the index of a prompt at the start of a line, or None if there is none yet."""
    if buffer.startswith(PROMPT):
        return 0
    found = buffer.find(b"\n" + PROMPT, start)
    return None if found < 0 else found + 1


class QemuIo(CloseOrAbandon):
    """One qemu-io with one image open.

    :param argv: the whole command line.
    :param directory: its working directory; also holds its log.
    :param timeout_s: seconds that one command may take.
    :ivar history: of the volume, so that a failed request can tell what came before it; or None.
    :raise ProgramError: qemu-io cannot open the image; the message has its output.
    """

    def __init__(
        self, argv: Sequence[str], directory: Path, name: str = "qemu-io", timeout_s: float = 30.0
    ) -> None:
        self.argv = tuple(argv)
        self.timeout_s = timeout_s
        self.closed = False
        self.history: History | None = None
        self._failed_visibly = False
        self._flushed = False
        self._completions: list[Report] = []
        self._in_flight = 0
        self._unfinished: list[Sent] = []
        self._buffer = bytearray()
        self._directory = directory
        self._log = directory / f"{name}.log"
        self._process = Process(argv, directory, name, interactive=True, cwd=directory)
        self._poll = select.poll()
        self._poll.register(self._process.stdout, select.POLLIN)
        try:
            self._read_output("open")
        except BaseException:
            self.abandon()
            raise

    @property
    def pid(self) -> int:
        """Process id of qemu-io."""
        return self._process.pid

    def __call__(self, command: str) -> str:
        """Run any qemu-io command and return its unfiltered output.

        :raise ProgramError: qemu-io died (the message names the signal) or did not answer in time.
        """
        output = self._send(command)
        if looks_failed(command, output):
            self._failed_visibly = True
        return output

    def _send(self, command: str) -> str:
        if self.closed:
            raise ProgramError(f"qemu-io is closed: {command}", self.argv, None)
        line = command.strip()
        if len(line) > COMMAND_MAX or "\n" in line:
            raise ValueError(f"not one line of at most {COMMAND_MAX} bytes: {line[:60]}...")
        try:
            self._process.stdin.write(line.encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # qemu-io died: reading its last output shows how
        return self._read_output(line)

    def _read_output(self, command: str) -> str:
        """Read up to the next prompt.

        Output after the prompt (aio completions that qemu-io has flushed) belongs to the next call.
        A hex dump never has a prompt at the start of a line.
        """
        limit = Limit(self.timeout_s)
        work = AtWork(self._process.pid)
        descriptor = self._process.stdout.fileno()
        searched = 0
        while True:
            end = _find_prompt(self._buffer, searched)
            if end is not None:
                output = self._buffer[:end].decode("utf-8", "backslashreplace")
                del self._buffer[: end + len(PROMPT)]
                self._note(command, output)
                return output
            searched = max(0, len(self._buffer) - len(PROMPT))
            while not self._poll.poll((left_s := limit.left_s()) * 1000):
                work.note()
                if left_s == 0:
                    self._give_up(command, limit.seconds, work)
            chunk = os.read(descriptor, _READ_SIZE)
            if not chunk:
                self._died(command)
            self._buffer += chunk

    def _note(self, command: str, output: str) -> None:
        kept = output if len(output) < 4096 else f"{output[:2048]}\n[...]\n{output[-1024:]}"
        with contextlib.suppress(OSError), self._log.open("a") as log:
            log.write(f"qemu-io> {command}\n{kept}")

    def _give_up(self, command: str, after_s: float, work: AtWork) -> NoReturn:
        output = self._buffer.decode("utf-8", "backslashreplace")
        self._note(command, output)
        self.abandon()
        message = f"qemu-io did not answer within {after_s:g} s: {command}"
        raise ProgramError(message, self.argv, None, output, at_work=work.is_steady)

    def _died(self, command: str) -> NoReturn:
        output = self._buffer.decode("utf-8", "backslashreplace")
        self._note(command, output)
        self.closed = True
        returncode = self._process.wait(5.0)
        self._process.close_pipes()
        message = f"qemu-io {describe_exit(returncode)} at '{command}': {tail(output)}"
        raise ProgramError(message, self.argv, returncode, output)

    # Requests -----------------------------------------------------------------------------------

    def request(self, command: str) -> Report:
        """Run one data command and return its report.

        :raise IoFailed: the request failed.
        """
        sent = self._noted(command)
        output = self._send(command)
        reports = parse_reports(output)
        if not reports:
            raise ProgramError(f"qemu-io printed no report: {command}", self.argv, None, output)
        self._completions += reports[:-1]
        answers.came()
        sent.result = reports[-1].error or OK
        if reports[-1].error:
            self._fail(command, reports[-1].error, output)
        return reports[-1]

    def _noted(self, command: str) -> Sent:
        found = _PLACE.search(command)
        place = None if found is None else (int(found[1]), int(found[2]))
        return note(f"qemu-io {command}", place, self.history)

    def _fail(self, command: str, reason: str, output: str) -> NoReturn:
        self._failed_visibly = True
        failure = IoFailed(f"{command}: {reason}", self.argv, None, output)
        failure.reason = reason
        raise failure

    def submit(self, command: str) -> None:
        """Start an aio request. `drain_reports` waits for it.

        :raise IoFailed: qemu-io refuses the command at once.
        """
        self._unfinished.append(self._noted(command))
        output = self._send(command)
        reports = parse_reports(output)
        self._in_flight += 1
        if reports and reports[-1].error and not self._is_completion(reports[-1], output):
            self._in_flight -= 1
            self._fail(command, reports[-1].error, output)
        self._completions += reports

    @staticmethod
    def _is_completion(report: Report, output: str) -> bool:
        return any(
            line.startswith(_COMPLETIONS) and line.endswith(report.error)
            for line in output.splitlines()
        )

    def drain_reports(self) -> list[Report]:
        """Wait for all aio requests. Return their reports in order of completion."""
        self._completions += parse_reports(self._send("aio_flush"))
        answers.came()
        reports, self._completions, self._in_flight = self._completions, [], 0
        errors = {report.error for report in reports if report.error}
        for sent in self._unfinished:  # which of them failed is not known
            sent.result = "; ".join(sorted(errors)) or OK
        self._unfinished.clear()
        if errors:
            self._failed_visibly = True
        return reports

    def flush(self) -> None:
        """Flush. Only `close` reports a failure, because qemu-io prints nothing."""
        self._flushed = True
        sent = note("qemu-io flush")
        output = self._send("flush")
        answers.came()
        sent.result = tail(output) if output.strip() and not self._in_flight else OK
        if self._in_flight:
            self._completions += parse_reports(output)
        elif output.strip():
            self._fail("flush", tail(output), output)

    def map(self) -> list[tuple[int, int, bool]]:
        """Return (offset, length, allocated) for the whole image, in bytes."""
        output = self._send("map")
        extents = parse_map(output)
        if extents is None:
            self._fail("map", tail(output), output)
        return extents

    # The end ------------------------------------------------------------------------------------

    def close(self) -> None:
        """End qemu-io, which closes the image.

        :raise ProgramError: the exit status is not 0, and no failed command explains it. After a
            flush this means that the flush failed.
        """
        if self.closed:
            return
        self.closed = True
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(b"quit\n")
            self._process.stdin.flush()
        rest = self._drain_pipe()
        returncode = self._process.wait(self.timeout_s)
        self._process.close_pipes()
        if returncode == 0 or (returncode == 1 and self._failed_visibly):
            return
        why = tail(rest) or ("a flush failed" if self._flushed else "a command failed silently")
        if "Failed flush for" in rest:  # QEMU 11 reports it, QEMU 10 only exits with 1
            why = f"a flush failed: {why}"
        message = f"qemu-io {describe_exit(returncode)} at its end: {why}"
        raise ProgramError(message, self.argv, returncode, rest)

    def _drain_pipe(self) -> str:
        chunks: list[bytes] = []
        limit = Limit(self.timeout_s)
        while left_s := limit.left_s():
            if not self._poll.poll(left_s * 1000):
                continue
            chunk = os.read(self._process.stdout.fileno(), _READ_SIZE)
            if not chunk:
                break
            chunks.append(chunk)
        return b"".join(chunks).decode("utf-8", "backslashreplace")

    def abandon(self) -> None:
        """Kill qemu-io without a flush. Never raises."""
        self.closed = True
        self._process.kill()
        self._process.close_pipes()

"""QEMU's NBD client in one long-lived qemu-io, which opens and closes one export after another.

One opening costs about 1 ms, and a crash or a hang of QEMU is seen as such.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from qbdcheck.errors import ProgramError
from qbdcheck.programs.blockdev import json_filename, nbd_node
from qbdcheck.programs.installed import Programs
from qbdcheck.programs.qemu_io import QemuIo
from qbdcheck.programs.qemu_io_output import Report, parse_reports

EXPORT = "volume"
_CANNOT_OPEN = re.compile(r"^qemu-io: can't open( device json:\{.*\})?: ")
WRONG = "Pattern verification failed"


class NbdOpener:
    """Open exports on Unix sockets, one after another.

    :param directory: holds the log of qemu-io.
    :param timeout_s: seconds after which an opening or a request counts as a hang.
    """

    def __init__(self, programs: Programs, directory: Path, timeout_s: float = 10.0) -> None:
        self._argv = programs.argv("qemu-io")
        self._directory = directory
        self._timeout_s = timeout_s
        self._io: QemuIo | None = None
        self.reason = ""

    def sees(self, path: Path, *commands: str, **options: object) -> str:
        """Open the export, run qemu-io commands, close it. Return the outcome on one line.

        If QEMU cannot open the export, the outcome is ``refused`` (see `reason`). Otherwise each
        command gives ``ok``, the text of its errno, ``wrong data`` (for ``read -P``), or its
        output. They are joined by "; ".

        :param options: of the nbd node.
        :raise ProgramError: QEMU crashed or hangs.
        """
        io = self._open(path, options)
        if io is None:
            return "refused"
        seen = [self._outcome(command) for command in commands]
        self._ask("close")
        return "; ".join(seen) or "ok"

    def in_flight(self, path: Path, commands: Sequence[str], **options: object) -> list[Report]:
        """Open the export, run aio commands at the same time, close it. Return their reports.

        :raise ProgramError: QEMU crashed, hangs, or cannot open the export.
        """
        io = self._open(path, options)
        if io is None:
            raise ProgramError(f"refused: {self.reason}", self._argv, None)
        for command in commands:
            io.submit(command)
        reports = io.drain_reports()
        self._ask("close")
        return reports

    def _open(self, path: Path, options: Mapping[str, object]) -> QemuIo | None:
        if self._io is None:
            self._io = QemuIo(self._argv, self._directory, "opener", self._timeout_s)
        node = json_filename(nbd_node(path, EXPORT, None, **options))
        refusal = self._ask(f"open {node}")
        self.reason = _CANNOT_OPEN.sub("", refusal).strip()
        return None if refusal else self._io

    def _ask(self, command: str) -> str:
        assert self._io is not None
        try:
            return self._io(command)
        except ProgramError:
            self.close()
            raise

    def _outcome(self, command: str) -> str:
        output = self._ask(command)
        if WRONG in output:
            return "wrong data"
        reports = parse_reports(output)
        if not reports:
            return output.strip() or "ok"
        return reports[-1].error or "ok"

    def close(self) -> None:
        """Kill qemu-io."""
        if self._io is not None:
            self._io.abandon()
            self._io = None

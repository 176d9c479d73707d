"""Find programs, and wrap those of QEMU in a debugger.

The path of a program comes from the first of these that has it: the target's profile, the
environment variable of qemu-iotests (``QEMU_IO_PROG``, ...), PATH.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from qbdcheck.errors import NotRun, SetupError
from qbdcheck.files import COMMAND

VALGRIND_ERROR = 99
"""Exit status if valgrind found an error (the same as in qemu-iotests' common.rc)."""
VARIABLES = {
    "qemu-img": "QEMU_IMG_PROG",
    "qemu-io": "QEMU_IO_PROG",
    "qemu-nbd": "QEMU_NBD_PROG",
    "qemu-storage-daemon": "QSD_PROG",
    "qemu-system-x86_64": "QEMU_PROG",
}
_PACKAGES = {
    "qemu-img": "qemu-utils",
    "qemu-io": "qemu-utils",
    "qemu-nbd": "qemu-utils",
    "qemu-storage-daemon": "qemu-system-common",
    "qemu-system-x86_64": "qemu-system-x86",
    "nbdinfo": "libnbd-bin",
    "nbdcopy": "libnbd-bin",
    "nbdkit": "nbdkit",
    "nbd-server": "nbd-server",
    "fio": "fio",
}


@dataclass(frozen=True)
class Programs:
    """Programs and their paths. QEMU's programs can run under gdbserver or valgrind.

    :param paths: path of each program, from the target's profile.
    :param log_dir: directory for the logs of valgrind.
    :param build: a command that builds the programs in ``paths``.
    :param install: the part of ``./check --install --with`` that has the programs.
    """

    paths: Mapping[str, str] = field(default_factory=dict)
    gdb: bool = False
    valgrind: bool = False
    log_dir: Path = Path()
    build: str | None = None
    install: str | None = None
    clients: dict[str, list[str]] = field(default_factory=dict)
    """The commands before QEMU's programs, by the server that they reach; see `reach`."""
    before: list[Callable[[str], None]] = field(default_factory=list)
    """Called with the arguments of each program of QEMU, as one text, before it starts."""

    def reach(self, server: str, command: Sequence[str]) -> None:
        """Run QEMU's programs by a command, which lets them reach a server, from now on.

        :raise NotRun: they reach another server by another command.
        """
        self.clients[server] = list(command)
        if len({tuple(one) for one in self.clients.values()}) > 1:
            raise NotRun("the programs of QEMU can reach one server of this target at a time")

    def path(self, name: str) -> str | None:
        """Return the path of a program, or None if it is not installed."""
        wanted = self.paths.get(name) or os.environ.get(VARIABLES.get(name, ""), "") or name
        return shutil.which(wanted)

    def require(self, *names: str) -> None:
        """Check that programs are installed.

        :raise NotRun: one reason for each missing program.
        """
        missing = [self.missing(name) for name in names if self.path(name) is None]
        if missing:
            raise NotRun(*dict.fromkeys(missing))

    def missing(self, name: str) -> str:
        """Return the message that a program is missing, with the package that has it."""
        wanted = self.paths.get(name) or os.environ.get(VARIABLES.get(name, ""), "") or name
        package = _PACKAGES.get(name)
        fix = f"; install the Debian package {package}" if package and wanted == name else ""
        if self.install and not package:
            fix = f"; run: {COMMAND} --install --with {self.install}"
        if self.build and "/" in wanted:
            return f"the programs in {Path(wanted).parent} are not built; run: {self.build}"
        return f"program {wanted} is not installed{fix}"

    def argv(self, name: str, *arguments: str) -> list[str]:
        """Return the command line of a program.

        :raise SetupError: the program is not installed.
        """
        path = self.path(name)
        if path is None:
            raise SetupError(self.missing(name))
        if name.startswith("qemu-"):
            for call in self.before:
                call(" ".join(arguments))
        return [*self.client(name), *self._wrapper(name), path, *arguments]

    def client(self, name: str) -> Sequence[str]:
        """Return the command before a program, if it is one of QEMU's and `reach` was called."""
        return next(iter(self.clients.values()), []) if name.startswith("qemu-") else []

    @property
    def slowdown(self) -> float:
        """Factor on all time limits while a program runs under gdbserver or valgrind."""
        if self.gdb:
            return 1000.0
        return 30.0 if self.valgrind else 1.0

    def _wrapper(self, name: str) -> Sequence[str]:
        if not name.startswith("qemu-"):
            return ()
        if self.gdb:
            return ("gdbserver", os.environ.get("GDB_OPTIONS") or "localhost:12345")
        if self.valgrind:
            log = self.log_dir / f"{name}.%p.valgrind"
            return (
                "valgrind",
                f"--log-file={log}",
                f"--error-exitcode={VALGRIND_ERROR}",
                "--trace-children=no",
                "--ignore-range-below-sp=1024-1",
            )
        return ()

    def valgrind_report(self) -> str:
        """Return the valgrind logs so far, for the message of a failure."""
        logs = sorted(self.log_dir.glob("*.valgrind"))
        return "\n".join(log.read_text(errors="replace") for log in logs)

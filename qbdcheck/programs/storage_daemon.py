"""qemu-storage-daemon: QEMU's block layer without a guest; ready in about 10 ms."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from qbdcheck.programs.installed import Programs
from qbdcheck.programs.monitored import Monitored

TIMEOUT_S = 30.0


class StorageDaemon(Monitored):
    """A running qemu-storage-daemon.

    :param arguments: further arguments of its command line.
    :param objects: ``--object`` definitions (secrets).
    """

    def __init__(
        self,
        programs: Programs,
        directory: Path,
        name: str = "qsd",
        arguments: Sequence[str] = (),
        objects: Sequence[str] = (),
    ) -> None:
        defined = [argument for text in objects for argument in ("--object", text)]
        monitor = ("--chardev", "socket,id=monitor,fd={monitor}", "--monitor", "chardev=monitor")
        argv = programs.argv("qemu-storage-daemon", *defined, *monitor, *arguments)
        super().__init__(argv, directory, name, TIMEOUT_S * programs.slowdown)

"""qemu-system without a guest that runs: block devices, QMP and HMP; the CPU stands still (-S).

Debian's QEMU is built without the accelerator qtest, so it is TCG that does nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from qbdcheck.programs.installed import Programs
from qbdcheck.programs.monitored import Monitored

TIMEOUT_S = 30.0


class Machine(Monitored):
    """A running qemu-system-x86_64.

    :param kind: machine type: ``none`` (no devices, 32 ms) or ``pc`` (PCI, 49 ms).
    :param arguments: further words of its command line.
    :param objects: ``-object`` definitions (secrets).
    :param accelerator: ``tcg``, or ``kvm`` for guests that run.
    """

    def __init__(
        self,
        programs: Programs,
        directory: Path,
        name: str = "vm",
        kind: str = "pc",
        *,
        arguments: Sequence[str] = (),
        objects: Sequence[str] = (),
        accelerator: str = "tcg",
    ) -> None:
        words = [word for text in objects for word in ("-object", text)]
        argv = programs.argv(
            "qemu-system-x86_64", "-accel", accelerator, "-S", "-machine", kind,
            "-nodefaults", "-no-user-config", "-display", "none", *words,
            "-chardev", "socket,id=monitor,fd={monitor}", "-mon", "chardev=monitor,mode=control",
            *arguments,
        )  # fmt: skip
        super().__init__(argv, directory, name, TIMEOUT_S * programs.slowdown)

    def hmp(self, command: str) -> str:
        """Run a command of the human monitor and return what it prints.

        For what QMP lacks: ``qemu-io NODE "break pwritev tag"``. What such a command of qemu-io
        prints goes to QEMU's stdout, not here.
        """
        text = self.execute("human-monitor-command", {"command-line": command})
        return str(text).replace("\r\n", "\n")

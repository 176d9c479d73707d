"""qemu-system without a running guest: block devices, QMP and HMP. The CPU is stopped (-S).

Debian builds QEMU without the accelerator qtest, so the accelerator is TCG.
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
    :param arguments: further arguments of its command line.
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
        defined = [argument for text in objects for argument in ("-object", text)]
        argv = programs.argv(
            "qemu-system-x86_64", "-accel", accelerator, "-S", "-machine", kind,
            "-nodefaults", "-no-user-config", "-display", "none", *defined,
            "-chardev", "socket,id=monitor,fd={monitor}", "-mon", "chardev=monitor,mode=control",
            *arguments,
        )  # fmt: skip
        super().__init__(argv, directory, name, TIMEOUT_S * programs.slowdown)

    def hmp(self, command: str) -> str:
        """Run a command of the human monitor and return its output.

        Use it for what QMP lacks: ``qemu-io NODE "break pwritev tag"``. The output of such a
        qemu-io command goes to QEMU's stdout and is not returned.
        """
        text = self.execute("human-monitor-command", {"command-line": command})
        return str(text).replace("\r\n", "\n")

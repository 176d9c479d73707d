"""A running guest: QEMU with the small Linux in it, and commands through its serial port."""

from __future__ import annotations

import re
import socket
from pathlib import Path

from pexpect import EOF, TIMEOUT, fdpexpect

from qbdcheck import clock
from qbdcheck.errors import ProgramError
from qbdcheck.guest.image import GuestImage
from qbdcheck.programs.blockdev import Blockdev
from qbdcheck.programs.installed import Programs
from qbdcheck.programs.machine import Machine

BOOT_S = 90.0
"""Under TCG a boot takes 3 to 5 seconds, on a busy machine several times as long."""
COMMAND_S = 60.0
_CONNECT_S = 10.0
_MEMORY_MIB = 256
_KERNEL_WORDS = (
    "console=ttyS0 quiet panic=-1 mitigations=off nokaslr no_timer_check tsc=reliable"
    " random.trust_cpu=on 8250.nr_uarts=1 audit=0 selinux=0 apparmor=0 cryptomgr.notests"
)
_BAD = ("Kernel panic", "BUG:", "Oops:", "Call Trace:", "Out of memory:")


class GuestFailed(ProgramError):  # noqa: N818  # an outcome
    """A command of the guest failed, or the guest itself: the message has the console."""


class Guest:
    """A guest with one disk, /dev/vda.

    :param disk: its blockdev options.
    :raise GuestFailed: it did not come up.
    """

    def __init__(
        self,
        programs: Programs,
        directory: Path,
        image: GuestImage,
        disk: Blockdev,
        name: str = "guest",
    ) -> None:
        console = directory / f"{name}.console"
        arguments = [
            "-m", str(_MEMORY_MIB), "-kernel", str(image.kernel), "-initrd", str(image.initramfs),
            "-append", _KERNEL_WORDS, "-serial", f"unix:{console},server=on,wait=off",
            "-no-reboot",
        ]  # fmt: skip
        self.console = ""
        self.machine = Machine(programs, directory, name, arguments=arguments)
        self._log = directory / f"{name}.console.log"
        node = self.machine.add({"node-name": "disk", **disk})
        device = {"driver": "virtio-blk-pci", "id": "vda", "drive": node, "share-rw": True}
        self.machine.execute("device_add", device)
        self._socket = self._connect(console)
        self._tty = fdpexpect.fdspawn(self._socket.fileno(), encoding="utf-8", timeout=COMMAND_S)
        self._tty.codec_errors = "backslashreplace"
        self.machine.execute("cont")
        self._expect("guest-is-ready\r?\n", BOOT_S, "the guest did not come up")

    def _connect(self, path: Path) -> socket.socket:
        end_s = clock.now_s() + _CONNECT_S
        while True:
            connection = socket.socket(socket.AF_UNIX)
            try:
                connection.connect(str(path))
                return connection
            except OSError:
                connection.close()
                if clock.now_s() > end_s:
                    raise
                clock.pause(0.01)

    def run(self, command: str, within_s: float = COMMAND_S) -> str:
        """Run one line of shell in the guest; return what it printed.

        :raise GuestFailed: its status is not 0, or it did not end in time, or the guest died.
        """
        self._tty.send(command + "\n")
        output = self._expect(r"@status (\d+)\r?\n", within_s, f"'{command}' did not end")
        match = self._tty.match
        assert isinstance(match, re.Match)
        status = int(match[1])
        if status:
            self._fail(f"'{command}' ended with {status}: {output.strip()}")
        return output.replace("\r\n", "\n")

    def _expect(self, pattern: str, within_s: float, what: str) -> str:
        found = self._tty.expect([pattern, TIMEOUT, EOF], timeout=within_s)
        text = str(self._tty.before or "")
        self.console += text + (str(self._tty.after) if found == 0 else "")
        self._log.write_text(self.console, encoding="utf-8")
        bad = next((word for word in _BAD if word in text), None)
        if bad is not None:
            self._fail(f"the guest's kernel says '{bad}'")
        if found:
            self._fail(f"{what}{'' if found == 1 else ': the console was closed'}")
        return text

    def _fail(self, what: str) -> None:
        tail = re.sub(r"\x1b\[[0-9;]*m", "", self.console)[-2000:]
        raise GuestFailed(f"{what}\nconsole:\n{tail}", self.machine.process.argv, None, tail)

    def kill(self) -> None:
        """SIGKILL QEMU: the guest is cut off from one moment to the next."""
        self.machine.kill()
        self._socket.close()

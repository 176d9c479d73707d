"""An ATA disk of a QEMU that this program drives: real device requests without a guest OS.

The processor only executes HLT. The ports of the device are written and read over QEMU's qtest
protocol (softmmu/qtest.c), which works together with TCG. So a case sees the effect of an error
policy (werror, rerror) from both sides, the guest's registers and QMP, 0.1 s after the start.
Registers and commands: ATA/ATAPI-6, sections 7 and 8; one sector by PIO at a time.
"""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

from qbdcheck.clock import pause
from qbdcheck.errors import ProgramError
from qbdcheck.machine_speed import Limit, elapsed_limit_s
from qbdcheck.programs.blockdev import Blockdev
from qbdcheck.programs.machine import Machine

SECTOR = 512
ERR, DRQ, DF, BUSY = 0x01, 0x08, 0x20, 0x80
ABORTED, ID_NOT_FOUND = 0x04, 0x10
_DATA, _ERROR, _COUNT, _LBA, _DRIVE, _COMMAND = 0x1F0, 0x1F1, 0x1F2, 0x1F3, 0x1F6, 0x1F7
_READ, _WRITE, _FLUSH = 0x20, 0x30, 0xE7
_IRQ = "IRQ raise 14"
_ROM_SIZE = 64 << 10
_HALT = bytes([0xFA, 0xF4, 0xEB, 0xFD])
"""cli; hlt; jmp to the hlt."""


class DeviceError(Exception):
    """The device ended a command with ERR or DF; ``status`` and ``error`` are its registers."""

    def __init__(self, status: int, error: int) -> None:
        super().__init__(f"status 0x{status:02x}, error 0x{error:02x}")
        self.status = status
        self.error = error


@contextlib.contextmanager
def ata_machine(
    start: Callable[..., Machine], scratch: Path, blockdev: Blockdev, **policy: str
) -> Iterator[tuple[Machine, AtaDisk]]:
    """Start a machine with one ATA disk and a running processor; yield the machine and the disk.

    :param start: starts a machine; the fixture ``machine``.
    :param blockdev: the disk, with a node-name.
    :param policy: ``werror``, ``rerror``: report, ignore, enospc, stop.
    """
    disk = AtaDisk(scratch)
    with start(*disk.arguments(blockdev, **policy)) as vm:
        disk.connect()
        try:
            vm.qmp("cont")
            yield vm, disk
        finally:
            disk.close()


class AtaDisk:
    """The first disk of the first channel.

    Make it, start a machine (kind ``pc``) with its `arguments`, then `connect`. `ata_machine`
    does all three.

    :param scratch: a directory for the ROM and the socket.
    :param timeout_s: seconds that one command may take.
    """

    def __init__(self, scratch: Path, timeout_s: float = 10.0) -> None:
        self.path = scratch / "qtest"
        """The socket of the qtest protocol, at which QEMU listens."""
        self._rom = scratch / "halt.rom"
        self._timeout_s = timeout_s
        self._lines: list[str] = []
        self._buffer = b""

    def arguments(self, blockdev: Blockdev, **policy: str) -> list[str]:
        """Return arguments for QEMU's command line.

        :param blockdev: the disk, with a node-name.
        :param policy: ``werror``, ``rerror``: report, ignore, enospc, stop.
        """
        options = "".join(f",{key}={value}" for key, value in policy.items())
        device = f"ide-hd,id=ata0,bus=ide.0,drive={blockdev['node-name']}{options}"
        return ["-bios", str(self.write_rom()), "-m", "16", "-qtest-log", "none",
                "-qtest", f"unix:{self.path},server=on,wait=off",
                "-blockdev", json.dumps(blockdev), "-device", device]  # fmt: skip

    def write_rom(self) -> Path:
        """Write the ROM in which the processor starts; return its path."""
        rom = bytearray(_ROM_SIZE)
        rom[-16 : -16 + len(_HALT)] = _HALT
        self._rom.write_bytes(rom)
        return self._rom

    def connect(self) -> None:
        """Connect to the qtest socket, and intercept the interrupts."""
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(elapsed_limit_s(self._timeout_s))
        self._socket.connect(str(self.path))
        self._ask("irq_intercept_in ioapic")

    def close(self) -> None:
        """Disconnect."""
        self._socket.close()

    # Commands ------------------------------------------------------------------------------------

    def read(self, sector: int) -> bytes:
        """Read one sector.

        :raise DeviceError: the device reports an error.
        """
        self._start(_READ, sector)
        return self.finish_read()

    def finish_read(self) -> bytes:
        """Wait for the end of a started read; return its data."""
        self.wait()
        data = [int(self._ask(f"inw {_DATA}"), 16) for _ in range(SECTOR // 2)]
        return b"".join(word.to_bytes(2, "little") for word in data)

    def start_read(self, sector: int) -> None:
        """Send a read; `finish_read` waits for its end."""
        self._start(_READ, sector)

    def write(self, sector: int, data: bytes) -> None:
        """Write one sector.

        :raise DeviceError: the device reports an error.
        """
        self.start_write(sector, data)
        self.wait()

    def start_write(self, sector: int, data: bytes) -> None:
        """Send a write and its data; `wait` waits for its end."""
        self._start(_WRITE, sector)
        for at in range(0, SECTOR, 2):
            self._ask(f"outw {_DATA} {int.from_bytes(data[at : at + 2], 'little')}")

    def flush(self) -> None:
        """Flush the cache.

        :raise DeviceError: the device reports an error.
        """
        self.start_flush()
        self.wait()

    def start_flush(self) -> None:
        """Send a flush; `wait` waits for its end."""
        self._start(_FLUSH, 0)

    def wait(self) -> None:
        """Wait for the interrupt that ends a command.

        :raise DeviceError: the device reports an error.
        :raise ProgramError: no interrupt in time.
        """
        limit = Limit(self._timeout_s)
        while _IRQ not in self._lines:
            if limit.is_over:
                message = f"the ATA device gave no interrupt within {limit.seconds:g} s"
                raise ProgramError(message, ["qtest"], None)
            self._ask("inb 0x3f6")  # the alternate status: does not acknowledge the interrupt
            pause(0.0005)
        status = int(self._ask(f"inb {_COMMAND}"), 16)
        self._lines.clear()
        if status & (ERR | DF):
            raise DeviceError(status, int(self._ask(f"inb {_ERROR}"), 16))

    @property
    def is_waiting(self) -> bool:
        """Whether a command is still pending: the guest has seen no interrupt."""
        self._ask("inb 0x3f6")
        return _IRQ not in self._lines

    def _start(self, command: int, sector: int) -> None:
        self._lines.clear()
        self._ask(f"outb {_DRIVE} {0xE0 | sector >> 24 & 15}")
        self._ask(f"outb {_COUNT} 1")
        for byte in range(3):
            self._ask(f"outb {_LBA + byte} {sector >> 8 * byte & 255}")
        self._ask(f"outb {_COMMAND} {command}")

    def _ask(self, command: str) -> str:
        """Run one qtest command and return its value; note interrupts."""
        self._socket.sendall(command.encode() + b"\n")
        while True:
            while b"\n" not in self._buffer:
                received = self._socket.recv(4096)
                if not received:
                    raise ProgramError(f"QEMU closed qtest during '{command}'", ["qtest"], None)
                self._buffer += received
            line, _, self._buffer = self._buffer.partition(b"\n")
            text = line.decode()
            if text.startswith("OK"):
                return text[3:]
            if not text.startswith("IRQ"):
                raise ProgramError(f"qtest: {command}: {text}", ["qtest"], None)
            self._lines.append(text)

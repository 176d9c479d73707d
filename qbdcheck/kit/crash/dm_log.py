"""Linux's own write log: the device-mapper target log-writes, in a guest.

    dm = DmLog(guest, "/dev/vdb", "/dev/vdc")
    guest.run(f"mount -t ext4 {dm.path} /mnt")
    dm.mark("mounted")
    ...
    dm.close()

Linux, Documentation/admin-guide/device-mapper/log-writes.rst. A write is logged when it has ended
and a later flush or FUA write has ended. Writes without a later flush are logged when the device is
removed, and marks at once.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from blockio.write_log import Entry, LogFlag, read_log
from qbdcheck.guest.guest import Guest
from qbdcheck.targets.disk import Disk

_NAME = "logged"
_SECTOR = 512


class DmLog:
    """A logging device over a disk of a guest.

    :ivar path: device file. :param log: the disk for the log.
    :raise GuestFailed: the kernel has no target log-writes.
    """

    path = f"/dev/mapper/{_NAME}"

    def __init__(self, guest: Guest, disk: str, log: str) -> None:
        self._guest = guest
        guest.run("modprobe -a dm_mod dm_log_writes")
        sectors = int(guest.run(f"blockdev --getsize64 {disk}")) // _SECTOR
        table = f"0 {sectors} log-writes {disk} {log}"
        guest.run(f"dmsetup create --noudevsync {_NAME} --table '{table}' && dmsetup mknodes")

    def mark(self, text: str) -> None:
        """Write a mark to the log."""
        self._guest.run(f"dmsetup message {_NAME} 0 mark {text}")

    def close(self) -> None:
        """Remove the device and end the log."""
        self._guest.run(f"dmsetup remove --noudevsync {_NAME}")


def read_log_of_disk(disk: Disk, copy: Path) -> list[Entry]:
    """Return the log that a guest wrote to a disk.

    :param copy: file for the disk's bytes; entries are views of it.
    :raise WriteLogError: the disk holds no log.
    """
    copy.write_bytes(disk.read_all().tobytes())
    return read_log(copy)


def marks(log: Sequence[Entry]) -> dict[str, int]:
    """Return the position of each mark in the log."""
    return {
        bytes(entry.data).decode(): number
        for number, entry in enumerate(log)
        if entry.flags & LogFlag.MARK
    }


class _Durable:
    """The durable contents as a log proceeds.

    :ivar done: numbers of the durable entries.
    """

    def __init__(self, log: Sequence[Entry], before: bytes) -> None:
        self.image = bytearray(before)
        self.done: set[int] = set()
        self._log = log
        self._at = 0
        self._pending: list[int] = []

    def go(self, count: int) -> None:
        """Proceed until this number of entries was logged."""
        for number in range(self._at, count):
            entry = self._log[number]
            if entry.flags & LogFlag.MARK:
                continue
            if entry.flags & LogFlag.FLUSH:
                for one in self._pending:
                    self._put(one)
                self._pending = []
            if entry.flags & LogFlag.FUA:
                self._put(number)
            elif entry.length:
                self._pending.append(number)
        self._at = count

    def _put(self, number: int) -> None:
        entry = self._log[number]
        is_discard = entry.flags & LogFlag.DISCARD
        data = bytes(entry.length) if is_discard else entry.data
        self.image[entry.offset : entry.offset + entry.length] = data
        self.done.add(number)


def disagreements(
    linux: Sequence[Entry],
    qemu: Sequence[Entry],
    before: bytes,
    moments: Iterable[tuple[int, int]],
) -> list[str]:
    """Compare the durable contents according to two logs of one volume, one below the other.

    For writes in flight when a flush began, Linux's log does not say that the flush covers them;
    QEMU's may. So where the logs differ, QEMU's must have what was in flight by Linux's log.

    :param before: the volume before both logs. :param moments: number of entries of each log.
    :return: the sectors that differ otherwise.
    """
    above, below = _Durable(linux, before), _Durable(qemu, before)
    writes: dict[int, list[int]] = defaultdict(list)
    for number, entry in enumerate(linux):
        for sector in range(entry.offset, entry.offset + entry.length, _SECTOR):
            writes[sector].append(number)

    def is_on_its_way(at: int, data: bytes) -> bool:
        for number in writes[at]:
            entry = linux[number]
            start = at - entry.offset
            seen = bytes(entry.data[start : start + _SECTOR]) or bytes(_SECTOR)
            if number not in above.done and seen == data:
                return True
        return False

    found = []
    for moment, (of_linux, of_qemu) in enumerate(moments):
        above.go(of_linux)
        below.go(of_qemu)
        left, right = (np.frombuffer(one.image, np.uint64).reshape(-1, _SECTOR // 8)
                       for one in (above, below))  # fmt: skip
        for sector in np.flatnonzero((left != right).any(axis=1)).tolist():
            at = sector * _SECTOR
            if not is_on_its_way(at, bytes(below.image[at : at + _SECTOR])):
                found.append(f"moment {moment}: another sector is durable at {at}")
    return found

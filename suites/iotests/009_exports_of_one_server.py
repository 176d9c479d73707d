"""This case checks that volumes and snapshots of one server keep their own size, flags and data.

How: a volume, its snapshot from before it grew, and a smaller volume are open at once and used in
turns, each connection opened after the others were used; each must tell its own size, the snapshot
must refuse writes and the others take them, up to their own ends, and all keep what is theirs.
Guards: cross-connection-state, wrong-volume-or-lun, capability-bit-collision.
"""

import contextlib

from qbdcheck.kit import case
from qbdcheck.kit.nbd import TransmissionFlag

MIB, SECTOR = 1 << 20, 512


def write(disk, client, offset):
    data = disk.shadow.stamped(offset, SECTOR)
    client.write(offset, data)
    disk.shadow.write(offset, data)


@case(groups="rw quick snapshot protocol", requires="nbd snapshot_read add_volume resize")
def test(new_disk, nbd, qemu_io):
    large = new_disk("2M")
    frozen = large.snapshot("frozen")
    large.resize(3 * MIB)
    small = new_disk("1M", beside=large)
    disks = (large, frozen, small)
    with contextlib.ExitStack() as opened:
        clients = []
        for last in (large, small, frozen, large):
            clients.append((last, opened.enter_context(nbd(last))))
            for disk, client in clients:
                told = f"the size is {client.size}, not {disk.size}"
                assert client.size == disk.size, told
                end = disk.size - SECTOR
                assert bool(client.flags & TransmissionFlag.READ_ONLY) == (disk is frozen)
                if disk is not frozen:
                    write(disk, client, end)
                    write(disk, client, len(clients) * 4 * SECTOR)
                else:
                    with contextlib.suppress(OSError):
                        client.write(end, bytes(SECTOR))
                        raise AssertionError("a write to a snapshot succeeded: no error")
                disk.judge(end, client.read(end, SECTOR))
                disk.judge(0, client.read(0, disk.size))
    with qemu_io(small) as one, qemu_io(large) as other, qemu_io(frozen, read_only=True) as third:
        for offset in range(0, MIB, 100 << 10):
            one.write(offset, 5000)
            other.write(2 * offset, 5000)
            third.read(2 * offset, 5000)
    for disk in disks:
        disk.verify()

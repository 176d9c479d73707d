"""This case checks that volumes and snapshots of one server keep their own size, flags and data.

How: a volume, its snapshot from before it grew, and a smaller volume are open at once and used in
turns, each connection opened after the others were used; each must tell its own size, the snapshot
must refuse writes and the others take them, up to their own ends, and all keep what is theirs.
Guards: cross-connection-state, wrong-volume-or-lun, capability-bit-collision.
"""

import contextlib

from qbdcheck.kit import case
from qbdcheck.kit.nbd import Command, TransmissionFlag

MIB, SECTOR = 1 << 20, 512


@case(groups="rw quick snapshot protocol", requires="nbd snapshot_read add_volume resize")
def test(new_disk, nbd_io, qemu_io):
    large = new_disk("2M")
    frozen = large.snapshot("frozen")
    large.resize(3 * MIB)
    small = new_disk("1M", beside=large)
    disks = (large, frozen, small)
    with contextlib.ExitStack() as opened:
        clients = []
        for last in (large, small, frozen, large):
            clients.append((last, opened.enter_context(nbd_io(last))))
            for disk, io in clients:
                client = io.client
                told = f"the size is {client.size}, not {disk.size}"
                assert client.size == disk.size, told
                end = disk.size - SECTOR
                assert bool(client.flags & TransmissionFlag.READ_ONLY) == (disk is frozen)
                if disk is not frozen:
                    io.write(end, SECTOR)
                    io.write(len(clients) * 4 * SECTOR, SECTOR)
                else:
                    io.must_refuse(Command.WRITE, end, SECTOR)
                io.read(end, SECTOR)
                io.read(0, disk.size)
    with qemu_io(small) as one, qemu_io(large) as other, qemu_io(frozen, read_only=True) as third:
        for offset in range(0, MIB, 100 << 10):
            one.write(offset, 5000)
            other.write(2 * offset, 5000)
            third.read(2 * offset, 5000)
    for disk in disks:
        disk.verify()

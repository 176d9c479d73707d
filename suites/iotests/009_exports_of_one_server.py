"""This case checks that volumes and snapshots of one server keep their own size, flags and data.

How: a volume, a snapshot taken before the volume grew, and a smaller volume are open at the same
time. They are used in turns, and each connection opens after the others were used. Each must report
its own size. The snapshot must refuse writes. The volumes accept writes up to their own ends, and
each keeps its own data.
Guards: cross-connection-state.
Related: wrong-volume-or-lun, capability-bit-collision.
"""

import contextlib

from qbdcheck.kit import case
from qbdcheck.kit.expectations import expect_bytes
from qbdcheck.kit.nbd import Command, TransmissionFlag

MIB, SECTOR = 1 << 20, 512


@case(
    groups="rw quick snapshot protocol",
    requires="nbd snapshot_read add_volume resize",
    basis=(
        "MUST: NBD, NBD_CMD_READ",
        "MUST: NBD, Transmission flags",
        "POLICY: snapshot-is-one-moment",
    ),
)
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
                expect_bytes(io.client.size, disk.size, f"export {disk.name}")
                block = max(SECTOR, io.block_sizes[0])
                end = disk.size - block
                read_only = io.offers(TransmissionFlag.READ_ONLY)
                wrong = f"export {disk.name}: expected READ_ONLY {disk is frozen}, got {read_only}"
                assert read_only == (disk is frozen), wrong
                if disk is frozen:
                    io.must_refuse(Command.WRITE, end, block, may_close=False)
                else:
                    io.write(end, block)
                    io.write(len(clients) * 4 * block % end, block)
                io.read(end, block)
                io.read(0, disk.size)
    with qemu_io(small) as one, qemu_io(large) as other, qemu_io(frozen, read_only=True) as third:
        for offset in range(0, MIB, 100 << 10):
            one.write(offset, 5000)
            other.write(2 * offset, 5000)
            third.read(2 * offset, 5000)
    for disk in disks:
        disk.verify()

"""This case checks that volumes and snapshots of one server keep their own size, flags and data.

How: a volume, a snapshot taken before the volume grew, and a smaller volume are open at the same
time. They are used in turns, and each connection opens after the others were used. Each must report
its own size. The snapshot must refuse writes. The volumes accept writes up to their own ends, and
each keeps its own data.
Guards: cross-connection-state, wrong-volume-or-lun, capability-bit-collision.
"""

import contextlib

from qbdcheck.kit import case
from qbdcheck.kit.nbd import Command, TransmissionFlag
from qbdcheck.kit.nbd_requests import block_sizes, expect_error, write_stamped

MIB, SECTOR = 1 << 20, 512


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
                seen = f"export {disk.name}: expected {disk.size} bytes, got {client.size}"
                assert client.size == disk.size, seen
                block = max(SECTOR, block_sizes(client).minimum)
                end = disk.size - block
                read_only = bool(client.flags & TransmissionFlag.READ_ONLY)
                wrong = f"export {disk.name}: expected READ_ONLY {disk is frozen}, got {read_only}"
                assert read_only == (disk is frozen), wrong
                if disk is frozen:
                    expect_error(client, Command.WRITE, end, block)
                else:
                    write_stamped(client, disk.shadow, end, block)
                    write_stamped(client, disk.shadow, len(clients) * 4 * block, block)
                disk.judge(end, client.read(end, block))
                disk.judge(0, client.read(0, disk.size))
    with qemu_io(small) as one, qemu_io(large) as other, qemu_io(frozen, read_only=True) as third:
        for offset in range(0, MIB, 100 << 10):
            one.write(offset, 5000)
            other.write(2 * offset, 5000)
            third.read(2 * offset, 5000)
    for disk in disks:
        disk.verify()

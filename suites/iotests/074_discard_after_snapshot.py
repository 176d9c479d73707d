"""This case checks that a discard after a snapshot does not bring back what the snapshot has.

How: all is written anew after a snapshot, and then parts are discarded: whole blocks, some sectors,
and more than was ever allocated at once. Each sector is as it was last written, or zero.
Guards: discard-exposes-backing, previous-tenant-data, stale-replica-after-failover.
"""

from qbdcheck.kit import case

KIB = 1 << 10
PARTS = ((64, 64), (200, 4), (301, 1), (512, 512), (1500, 100))


@case(groups="discard snapshot quick", requires="snapshot discard")
def test(new_disk, qemu_io):
    disk = new_disk("2M")
    disk.backend.snapshot("old")
    with qemu_io(disk) as io:
        for at in range(0, 2048, 256):
            io.write(at * KIB, 256 * KIB)
        for at, length in PARTS:
            io.discard(at * KIB, length * KIB)
        io.flush()
    disk.verify()
    disk.backend.snapshot("newer")
    with qemu_io(disk) as io:
        io.discard(0, disk.size)
    disk.verify()

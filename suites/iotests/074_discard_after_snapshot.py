"""This case checks that a discard after a snapshot does not bring back what the snapshot contains.

How: all data is rewritten after a snapshot. Then parts are discarded: whole blocks, some sectors
(rounded to the minimum block), and more than was ever allocated at once. Each sector must be as it
was last written, or zero.
Guards: discard-exposes-backing.
Related: previous-tenant-data, stale-replica-after-failover.
"""

from qbdcheck.kit import case
from qbdcheck.kit.nbd_io import minimum_block
from qbdcheck.kit.nbd_requests import widened

KIB = 1 << 10
PARTS = ((64, 64), (200, 4), (301, 1), (512, 512), (1500, 100))


@case(
    groups="discard snapshot quick",
    requires="snapshot discard",
    basis=("POLICY: discard-old-or-zero", "POLICY: snapshot-is-one-moment"),
)
def test(new_disk, qemu_io):
    disk = new_disk("2M")
    minimum = minimum_block(disk)
    disk.backend.snapshot("old")
    with qemu_io(disk) as io:
        for at in range(0, 2048, 256):
            io.write(at * KIB, 256 * KIB)
        for at, length in PARTS:
            io.discard(*widened(at * KIB, length * KIB, minimum))
        io.flush()
    disk.verify()
    disk.backend.snapshot("newer")
    with qemu_io(disk) as io:
        io.discard(0, disk.size)
    disk.verify()

"""This case checks that data cut off from a clone does not come back when the clone grows again.

How: as soon as it is made, one clone shrinks within a block and grows beyond its old size, another
shrinks to nothing, a third only grows and is written around its old end. What was cut off must read
as zeroes, the rest as the parent, at once and after a snapshot of the clone.
Guards: resize-during-copy, false-zero-init, clone-copyup-lost.
"""

from qbdcheck.kit import case
from qbdcheck.kit.nbd_io import minimum_block

MIB, SECTOR = 1 << 20, 512


@case(
    groups="snapshot size quick",
    requires="clone resize raw_requests",
    basis=("POLICY: clone-is-independent", "POLICY: grown-part-reads-zero"),
)
def test(new_disk, nbd_io):
    disk = new_disk("3M")
    snapshot = disk.snapshot("base")
    unit = max(SECTOR, minimum_block(disk))
    for name, sizes in (("cut", (MIB + 37 * unit, 4 * MIB)), ("empty", (0, 2 * MIB)),
                        ("grown", (3 * MIB + 100 * unit,))):  # fmt: skip
        clone = snapshot.clone(name)
        for size in sizes:
            clone.resize(size)
        with nbd_io(clone) as io:
            io.write((clone.size // 2 // unit - 3) * unit, 9 * unit)
            io.read(0, clone.size)
            io.flush()
        later = clone.snapshot("later")
        with nbd_io(later) as io:
            io.read(0, later.size)
    disk.verify()

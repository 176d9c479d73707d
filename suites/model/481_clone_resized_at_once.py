"""This case checks that what is cut off from a clone does not come back when it grows again.

How: as soon as it is made, one clone is cut off inside of a sector's neighbourhood and grown beyond
its old size, another is cut off to nothing, a third is only grown and written round its old end.
What was cut off must read as zeroes, what was not as the parent, at once and when a snapshot of
the clone was taken.
Guards: resize-during-copy, false-zero-init, clone-copyup-lost.
"""

from qbdcheck.kit import case

MIB, SECTOR = 1 << 20, 512


@case(groups="snapshot size quick", requires="clone resize nbd")
def test(new_disk, nbd):
    disk = new_disk("3M")
    snapshot = disk.snapshot("base")
    for name, sizes in (("cut", (MIB + 37 * SECTOR, 4 * MIB)), ("empty", (0, 2 * MIB)),
                        ("grown", (3 * MIB + 100 * SECTOR,))):  # fmt: skip
        clone = snapshot.clone(name)
        for size in sizes:
            clone.resize(size)
        with nbd(clone) as client:
            offset = clone.size // 2 - 3 * SECTOR
            data = clone.shadow.stamped(offset, 9 * SECTOR)
            client.write(offset, data)
            clone.shadow.write(offset, data)
            clone.judge(0, client.read(0, clone.size))
            client.flush()
        later = clone.snapshot("later")
        with nbd(later) as client:
            later.judge(0, client.read(0, later.size))
    disk.verify()

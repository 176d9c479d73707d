"""This case checks that many resizes with writes in between leave the data of their order.

How: 24 sizes from the seed, up and down, not aligned to blocks, with writes at the old and new
ends.
Guards: grow-exposes-old-data, resize-false-success.
Related: map-entry-shifted.
"""

from qbdcheck.kit import case
from qbdcheck.kit.nbd_requests import widened
from qbdcheck.kit.volume_limits import size_unit


@case(
    groups="size",
    requires="resize",
    basis=("POLICY: grown-part-reads-zero", "MUST: NBD, NBD_CMD_READ"),
)
def test(new_disk, qemu_io, seed, target):
    chance = seed.stream("sizes")
    unit = size_unit(target)
    disk = new_disk(max(1 << 20, unit))
    for number in range(24):
        old = disk.size
        disk.resize(widened(0, 512 * chance.randrange(16, 6000), unit)[1])
        with qemu_io(disk) as io:
            for start in (disk.size - 1024, min(old, disk.size) - 4096, 0):
                io.write(max(start, 0), 1024)
        if number % 4 == 3:
            disk.verify()
    disk.verify()

"""This case checks that data cut off by shrinking does not come back when the volume grows again.

How: a prefilled volume shrinks to odd sizes and grows back. Everything behind the cut must be zero.
Guards: grow-exposes-old-data, resize-false-success.
Related: previous-tenant-data.
"""

from qbdcheck.kit import case
from qbdcheck.kit.nbd_requests import widened
from qbdcheck.kit.volume_limits import size_unit

CUTS = ((4 << 20) + 512, (3 << 20) + 4096, 1 << 20, (512 << 10) - 1024, 1024)


@case(
    groups="size quick",
    requires="resize",
    basis=("POLICY: grown-part-reads-zero", "MUST: NBD, NBD_CMD_READ"),
)
def test(new_disk, qemu_io, target):
    unit = size_unit(target)
    size = widened(0, 5 << 20, unit)[1]
    disk = new_disk(size)
    for cut in (widened(0, cut, unit)[1] for cut in CUTS):
        disk.resize(cut)
        disk.verify()
        disk.resize(size)
        disk.verify()
        with qemu_io(disk) as io:
            io.write(max(cut - 2048, 0), min(8192, size - cut + 2048))
        disk.verify()

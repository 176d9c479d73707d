"""This case checks that `qemu-img create` on an existing volume keeps its data and its size.

How: over NBD nothing is created. QEMU opens the volume, zeroes its first sector, and must leave all
others as they are. A volume that is too small is refused; the error text is in the golden.
Related: discard-overreach, resize-false-success, previous-tenant-data.
"""

from qbdcheck.kit import case
from qbdcheck.kit.expectations import expect_size


@case(groups="img quick errors", requires="nbd", basis="MUST: qemu-img(1), create")
def test(disk, qemu_img, golden):
    qemu_img("create", "-q", "-f", "raw", disk.backend.filename, str(disk.size))
    disk.shadow.zero(0, 512)
    disk.verify()
    qemu_img("create", "-q", "-f", "raw", disk.backend.filename, "64k")
    expect_size(qemu_img, disk.filename, disk.size)
    disk.verify()
    too_large = str(disk.size + 512)
    error = qemu_img.fails("create", "-q", "-f", "raw", disk.backend.filename, too_large)
    golden(error.rpartition(": ")[2])
    disk.verify()

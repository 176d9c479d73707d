"""This case checks that space added by growing reads as zeroes, and old data stays.

How: a prefilled volume grows in steps that end inside and at the edge of blocks. The new space is
read, then written at both of its ends.
Guards: resize-not-notified, resize-false-success.
Related: grow-exposes-old-data, previous-tenant-data.
"""

from qbdcheck.kit import case
from qbdcheck.kit.expectations import expect_size
from qbdcheck.kit.nbd_requests import widened
from qbdcheck.kit.volume_limits import size_unit

STEPS = (512, 4096, 65536 - 512, 1 << 20, (3 << 20) + 1536)


@case(
    groups="size quick",
    requires="resize",
    basis=("POLICY: grown-part-reads-zero", "MUST: NBD, NBD_CMD_READ"),
)
def test(new_disk, qemu_io, qemu_img, target):
    unit = size_unit(target)
    disk = new_disk(2 * max(1 << 20, unit))
    for step in (widened(0, step, unit)[1] for step in STEPS):
        old = disk.size
        disk.resize(old + step)
        expect_size(qemu_img, disk.filename, disk.size)
        with qemu_io(disk) as io:
            new = f"the space at {old}, new after growing from {old} to {disk.size}, is not zero"
            assert not any(io.read(old, min(step, 65536))), new
            io.write(old, 512)
            io.write(disk.size - 512, 512)
        disk.verify()

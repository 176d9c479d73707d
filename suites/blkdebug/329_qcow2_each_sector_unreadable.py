"""This case checks that any one unreadable sector of a qcow2 gives an error or the right data.

How: a small image, and one sector of the volume after the other cannot be read: header, refcounts,
L1, L2, data. Opening or the read fails, or the data is right; never zeroes or other data. Written
to meanwhile, the image is sound afterwards.
Guards: missing-object-zero-fill, alloc-map-rounding-reads-zero, async-error-ignored.
"""

from errno import EIO

from qbdcheck.kit import case
from qbdcheck.kit.blkdebug import error
from qbdcheck.kit.faulty_image import NOT_OPENED, FaultyImage


@case(groups="inject errors qcow2")
def test(new_disk, qemu_io, qemu_img):
    disk = new_disk("64k", prefill=False, format="qcow2")
    disk.create_image(disk.size, "cluster_size=512")
    with qemu_io(disk) as io:
        io.write(1024, 2048)
    image = FaultyImage(disk, qemu_io, qemu_img)

    def act(io):
        io.read(0, 4096)
        io.write(40_000, 512)

    outcomes = [
        image.strike(error(iotype="read", sector=sector), act)
        for sector in (0, 1, 2, 3, 4, 5, 6, 8)
    ]
    assert outcomes[0] == NOT_OPENED, outcomes
    assert outcomes.count(EIO) >= 2, outcomes
    disk.verify()
    image.repair()

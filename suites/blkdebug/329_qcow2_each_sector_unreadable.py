"""This case checks that any one unreadable sector of a qcow2 gives an error or the right data.

How: a small image. One sector of the volume at a time cannot be read: header, refcounts, L1, L2,
data. Opening or the read must fail, or the data must be right; never zeroes or other data. The
image must be consistent after writes during the error.
Related: missing-object-zero-fill, alloc-map-rounding-reads-zero, async-error-ignored.
"""

from errno import EIO

from qbdcheck.kit import case
from qbdcheck.kit.blkdebug import error
from qbdcheck.kit.expectations import errno_name, expect_result
from qbdcheck.kit.faulty_image import NOT_OPENED, FaultyImage


@case(
    groups="inject errors qcow2",
    basis=("MUST: QEMU, interop/qcow2", "POLICY: image-survives-errors"),
)
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
    expect_result(outcomes[0], NOT_OPENED, "open of an image with an unreadable header")
    names = [errno_name(one) for one in outcomes]
    assert outcomes.count(EIO) >= 2, f"expected EIO for at least 2 sectors, got {names}"
    disk.verify()
    image.repair()

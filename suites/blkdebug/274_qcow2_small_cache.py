"""This case checks that errors while evicted L2 tables are written back lose no promised data.

How: a cache of one L2 table, so that each request evicts another table. The N-th such write fails.
The write that met it and those before it are uncertain until a flush; later ones are not.
Related: close-drops-dirty, map-entry-shifted, async-error-ignored.
"""

from qbdcheck.kit import case
from qbdcheck.kit.blkdebug import fail_nth
from qbdcheck.kit.faulty_image import FaultyImage


@case(
    groups="inject errors qcow2",
    basis=("MUST: QEMU, interop/qcow2", "POLICY: image-survives-errors"),
)
def test(new_disk, qemu_io, qemu_img):
    disk = new_disk("4M", prefill=False, format="qcow2")
    disk.create_image(disk.size, "cluster_size=512")
    image = FaultyImage(disk, qemu_io, qemu_img, l2_cache_size=512)
    start = iter(range(0, 1 << 20, 700))

    def act(io):
        first = next(start)
        for number in range(4):
            io.write(first + number * (1 << 20), 600)
        for number in range(4):
            io.read(first + number * (1 << 20), 600)
        io.flush()

    for count in (1, 2, 3, 5):
        assert image.strike(fail_nth("l2_update", count, iotype="write", once=True), act) != 0, (
            f"the error of L2 update {count} was not reported"
        )
    disk.verify()
    image.repair()

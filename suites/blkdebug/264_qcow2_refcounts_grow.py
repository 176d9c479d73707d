"""This case checks that an error while the refcount structure grows leaves a qcow2 consistent.

How: with clusters of 512 bytes and 64-bit refcounts, 2 MiB of data outgrow the refcount table. An
error comes at each event of that growth, then the same write is repeated.
Guards: map-entry-shifted.
Related: torn-write, thin-alloc-toctou.
"""

from qbdcheck.kit import case
from qbdcheck.kit.blkdebug import error
from qbdcheck.kit.expectations import expect_result
from qbdcheck.kit.faulty_image import FaultyImage

EVENTS = """refblock_alloc_hookup refblock_alloc_write refblock_alloc_write_blocks
    refblock_alloc_write_table refblock_alloc_switch_table"""
FULL = 1900 << 10


@case(
    groups="inject errors qcow2 slow",
    basis=("MUST: QEMU, interop/qcow2", "POLICY: image-survives-errors"),
)
def test(new_disk, qemu_io, qemu_img):
    for event in EVENTS.split():
        disk = new_disk("3M", prefill=False, format="qcow2")
        disk.create_image(disk.size, "cluster_size=512,refcount_bits=64")
        image = FaultyImage(disk, qemu_io, qemu_img)
        with qemu_io(disk) as io:
            io.write(0, FULL)

        def act(io):
            io.write(FULL, 400 << 10)
            io.flush()

        assert image.strike(error(event, iotype="write", once=True), act) != 0, (
            f"an error at {event} was not reported"
        )
        expect_result(image.strike({}, act), 0, "the same without an error")
        disk.verify()

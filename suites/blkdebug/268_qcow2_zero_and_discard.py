"""This case checks that zeroes and discards that fail half-way leave a qcow2 consistent.

How: write-zeroes with and without unmap, and discard, of some clusters, with errors at metadata
events. The range must contain old data or zeroes, nothing outside it may change, and there must be
no corruption.
Related: discard-overreach, write-zeroes-noop, zero-flags-lost, torn-write.
"""

from qbdcheck.kit import case
from qbdcheck.kit.blkdebug import error
from qbdcheck.kit.expectations import expect_result
from qbdcheck.kit.faulty_image import FaultyImage

CLUSTER = 64 << 10


@case(
    groups="inject errors qcow2 zero discard",
    basis=("MUST: QEMU, interop/qcow2", "POLICY: image-survives-errors"),
)
def test(new_disk, qemu_io, qemu_img):
    disk = new_disk("2M", format="qcow2")
    image = FaultyImage(disk, qemu_io, qemu_img)
    acts = (
        lambda io: io.write_zeroes(CLUSTER, 3 * CLUSTER + 1000),
        lambda io: io.write_zeroes(8 * CLUSTER, 3 * CLUSTER, unmap=True),
        lambda io: io.discard(16 * CLUSTER + 5000, 4 * CLUSTER),
    )
    for act in acts:

        def act_and_flush(io, act=act):
            act(io)
            io.flush()

        assert image.strike(error("l2_load", once=True), act_and_flush) != 0, (
            "an error at l2_load was not reported"
        )
        for event in ("l2_update", "refblock_update_part"):
            image.strike(error(event, once=True), act_and_flush)
        expect_result(image.strike({}, act_and_flush), 0, "the same without an error")
        with qemu_io(disk) as io:
            io.write(0, 24 * CLUSTER)
    disk.verify()
    image.repair()

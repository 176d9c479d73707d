"""This case checks that an error at any step of a qcow2's first write leaves the image consistent.

How: an error at each event of an allocating write, in a part of the image where nothing is
allocated, so that L2 tables are created too. qemu-img check runs after each, all data is compared
at the end, and leaks are freed.
Guards: map-entry-shifted.
Related: async-error-ignored, torn-write, thin-alloc-toctou.
"""

from qbdcheck.kit import case
from qbdcheck.kit.expectations import expect_result
from qbdcheck.kit.faulty_image import FaultyImage

EVENTS = "l1_update l2_alloc_write l2_update cluster_alloc refblock_alloc write_aio pwritev"
PART = 256 << 10


@case(
    groups="inject errors qcow2",
    basis=("MUST: QEMU, interop/qcow2", "POLICY: image-survives-errors"),
)
def test(new_disk, qemu_io, qemu_img):
    disk = new_disk("2M", prefill=False, format="qcow2")
    disk.create_image(disk.size, "cluster_size=512")
    image = FaultyImage(disk, qemu_io, qemu_img)

    def act(io):
        io.write(at + 5000, 60_000)
        io.flush()

    for number, event in enumerate(EVENTS.split()):
        at = number * PART
        image.strike_events(event, act, iotype="write")
        expect_result(image.strike({}, act), 0, f"{event}: the same write without an error")
    disk.verify()
    image.repair()
    disk.verify()

"""This case checks that writes into subclusters that fail give old or new data, nothing else.

How: with extended L2 entries, parts of clusters are written, zeroed and discarded with an error at
each event. A failed write into a cluster whose other parts contain data must keep those. (One that
covers old and new parts: docs/findings.md#qemu-subclusters-zeroed.)
Guards: map-entry-shifted.
Related: zero-flags-lost, torn-write, alloc-map-rounding-reads-zero.
"""

from qbdcheck.kit import case
from qbdcheck.kit.expectations import expect_result
from qbdcheck.kit.faulty_image import FaultyImage

CLUSTER, PART = 64 << 10, 2 << 10


@case(
    groups="inject errors qcow2",
    basis=("MUST: QEMU, interop/qcow2", "POLICY: image-survives-errors"),
)
def test(new_disk, qemu_io, qemu_img):
    disk = new_disk("2M", prefill=False, format="qcow2")
    disk.create_image(disk.size, "extended_l2=on")
    image = FaultyImage(disk, qemu_io, qemu_img)
    with qemu_io(disk) as io:
        for cluster in range(16):
            io.write(cluster * CLUSTER + 5 * PART, 3 * PART)
    cluster = iter(range(16))

    def act(io):
        at = next(cluster) * CLUSTER
        io.write(at + 7 * PART + 100, PART - 100)
        io.write(at + 8 * PART, 3 * PART - 100)
        io.write_zeroes(at + 5 * PART, PART)
        io.discard(at + 6 * PART, PART)
        io.write(at + 20 * PART, PART)
        io.flush()

    image.strike_events("write_aio l2_load l2_update pwritev", act)
    image.strike_events("pwritev_done flush_to_os", act)
    expect_result(image.strike({}, act), 0, "the same without an error")
    disk.verify()
    image.repair()

"""This case checks that subclusters of a qcow2 image are allocated, zeroed and freed one by one.

How: with extended L2 entries, clusters of 128 KiB have 32 subclusters of 4 KiB. Single subclusters
are written, zeroed and discarded above a backing volume. Their neighbours must stay as they were.
Guards: map-entry-shifted.
Related: alloc-map-rounding-reads-zero, discard-exposes-backing, zero-flags-lost.
"""

from qbdcheck.kit import case
from qbdcheck.kit.expectations import expect_sound

KIB = 1 << 10
SUB, CLUSTER = 4 * KIB, 128 * KIB


@case(groups="format qcow2 backing zero discard", basis="MUST: QEMU, interop/qcow2")
def test(new_disk, qemu_io, qemu_img):
    base, top = new_disk("1M"), new_disk("1M", prefill=False, format="qcow2")
    options = ("-o", "extended_l2=on,cluster_size=128k", "-F", "raw", "-b", base.filename)
    qemu_img("create", "-q", "-f", "qcow2", *options, top.backend.filename)
    top.shadow.write(0, base.shadow.expected(0, base.size))
    with qemu_io(top) as io:
        io.write(CLUSTER + SUB, SUB)
        io.write(CLUSTER + 9 * SUB + 1, 1)
        io.write_zeroes(CLUSTER + 5 * SUB, 3 * SUB)
        io.write_zeroes(3 * CLUSTER + 31 * SUB, 2 * SUB, unmap=True)
        io.write(5 * CLUSTER, CLUSTER)
        io.write_zeroes(5 * CLUSTER + 2 * SUB, SUB, unmap=True)
        io.discard(5 * CLUSTER + 8 * SUB, 4 * SUB)
        extents = io.map()
    assert (CLUSTER + SUB, SUB, True) in extents, (
        f"the written subcluster is not in the map: {extents}"
    )
    assert (CLUSTER + 2 * SUB, 3 * SUB, False) in extents, (
        f"the zeroed subclusters are not in the map: {extents}"
    )
    top.verify()
    base.verify()
    expect_sound(qemu_img, top.filename)

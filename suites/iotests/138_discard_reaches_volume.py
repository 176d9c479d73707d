"""This case checks that discards in an image free its clusters and harm no others.

How: clusters of an image are discarded with discard=unmap and with discard=ignore. The data of all
other clusters and the metadata must stay, also when the clusters are used again.
Related: discard-overreach, discard-not-tracked, thin-alloc-toctou.
"""

from qbdcheck.kit import case
from qbdcheck.kit.expectations import expect_sound

KIB, MIB = 1 << 10, 1 << 20
CLUSTER = 64 * KIB


@case(
    groups="format discard qcow2",
    basis=("MUST: QEMU, interop/qcow2", "POLICY: discard-old-or-zero"),
)
def test(new_disk, qemu_io, qemu_img):
    disk = new_disk("2M", format="qcow2")
    for discard in ("unmap", "ignore", "unmap"):
        with qemu_io(disk, discard=discard) as io:
            for cluster in (1, 2, 3, 8, 15, 31):
                io.discard(cluster * CLUSTER, CLUSTER)
            io.discard(20 * CLUSTER + 512, 3 * CLUSTER)
            io.read(0, 4 * CLUSTER)
        disk.verify()
        expect_sound(qemu_img, disk.filename)
        with qemu_io(disk, discard=discard) as io:
            io.write(3 * CLUSTER - 100, 200)
            io.write(31 * CLUSTER, CLUSTER)
            io.write(8 * CLUSTER + 7, 4 * CLUSTER)
        disk.verify()
        expect_sound(qemu_img, disk.filename)

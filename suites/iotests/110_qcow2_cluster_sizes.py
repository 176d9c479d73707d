"""This case checks that qcow2 images of every cluster size keep their data on a volume.

How: clusters of 512 bytes, 4 KiB, 64 KiB and 2 MiB. Data is written within, across and at the ends
of clusters, read back after reopening, and checked.
Guards: unaligned-offset-rounded, map-entry-shifted, misdirected-write.
Related: last-block-overrun.
"""

from qbdcheck.kit import case
from qbdcheck.kit.expectations import expect_equal, expect_sound

KIB, MIB = 1 << 10, 1 << 20


@case(groups="format qcow2", basis="MUST: QEMU, interop/qcow2")
def test(new_disk, qemu_io, qemu_img):
    disk = new_disk("3M", prefill=False, format="qcow2")
    for cluster in (512, 4 * KIB, 64 * KIB, 2 * MIB):
        disk.create_image(disk.size, f"cluster_size={cluster}")
        disk.shadow.zero(0, disk.size)
        with qemu_io(disk) as io:
            io.write(2 * MIB + 512, 300)
            io.write(MIB - 5, 10)
            for edge in (cluster, 5 * cluster, 300 * KIB):
                if edge < disk.size:
                    io.write(edge - 512, 1024)
            io.write(0, 200 * KIB)
            io.write(disk.size - 1, 1, pattern=cluster % 251)
        disk.verify()
        expect_equal(
            qemu_img.json("info", disk.filename)["cluster-size"],
            cluster,
            "qemu-img info, cluster-size",
        )
        expect_sound(qemu_img, disk.filename)

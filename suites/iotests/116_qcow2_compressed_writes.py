"""This case checks that compressed clusters are read, rewritten and freed without harm to others.

How: compressed clusters share sectors of the volume. They are written one by one with zlib and
zstd. Then one is overwritten in part, one is zeroed and one is discarded. The others must read as
before.
Guards: unaligned-offset-rounded.
Related: torn-write, discard-overreach.
"""

from qbdcheck.kit import case
from qbdcheck.kit.expectations import expect_equal, expect_sound

KIB = 1 << 10
CLUSTER = 64 * KIB


@case(groups="format qcow2", basis="MUST: QEMU, interop/qcow2")
def test(new_disk, qemu_io, qemu_img):
    disk = new_disk("1M", prefill=False, format="qcow2")
    for kind in ("zlib", "zstd"):
        disk.create_image(disk.size, f"compression_type={kind}")
        disk.shadow.zero(0, disk.size)
        with qemu_io(disk) as io:
            for cluster in (3, 0, 1, 2, 8, 15):
                io.request(f"write -c -P {cluster + 1} {cluster * CLUSTER} {CLUSTER}")
                disk.shadow.pattern(cluster * CLUSTER, CLUSTER, cluster + 1)
        expect_equal(
            qemu_img.json("check", disk.filename)["compressed-clusters"],
            6,
            f"{kind}: compressed clusters",
        )
        disk.verify()
        with qemu_io(disk) as io:
            io.write(CLUSTER + 100, 1000)
            io.write_zeroes(2 * CLUSTER, CLUSTER)
            io.discard(3 * CLUSTER, CLUSTER)
            io.write(8 * CLUSTER - 5, 10)
        disk.verify()
        expect_sound(qemu_img, disk.filename)

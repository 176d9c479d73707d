"""This case checks that a grown volume, and data flushed into it, survive a power cut.

How: grow, write behind the old end, flush, cut: the unwritten new part reads as zeroes. Then
shrink, flush, cut, grow: what was cut off must not come back.
Guards: grow-exposes-old-data, resize-false-success, size-change-across-reconnect.
"""

from qbdcheck.kit import case
from qbdcheck.kit.expectations import expect_bytes
from qbdcheck.kit.server_ends import cut

MIB = 1 << 20


@case(
    groups="size flush crash",
    requires="flush sudden_end resize",
    basis=("MUST: NBD, NBD_CMD_FLUSH", "POLICY: grown-part-reads-zero"),
)
def test(new_disk, qemu_io, qemu_img, seed):
    disk = new_disk("1M")
    for round_, size in enumerate((3 * MIB, 3 * MIB // 2, 2 * MIB + 4096, MIB, 3 * MIB)):
        old = disk.size
        disk.resize(size)
        with qemu_io(disk) as io:
            io.write(min(old, size) - 8192, 8192)
            if size > old:
                io.write(old + 4096, 20_000)
            io.flush()
        cut(disk, seed + round_)
        seen = qemu_img.json("info", disk.filename)["virtual-size"]
        expect_bytes(seen, disk.size, "the volume after the cut")
        disk.verify()

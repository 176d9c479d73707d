"""This case checks that an image on a volume grows with zeroes and shrinks only when told to.

How: grow, write beyond the old end, shrink without --shrink (refused in QEMU's words), shrink, grow
again: what was cut off must not come back. (Within a cluster it does: docs/findings.md.)
Guards: grow-exposes-old-data, resize-false-success, size-int-overflow.
"""

from qbdcheck.kit import case

KIB, MIB = 1 << 10, 1 << 20


@case(groups="img size qcow2 quick")
def test(new_disk, qemu_io, qemu_img, golden):
    disk = new_disk("2M", format="qcow2")
    disk.resize(3 * MIB + 64 * KIB)
    disk.verify()
    with qemu_io(disk) as io:
        io.write(2 * MIB - 5, 200_000)
        io.write(disk.size - 512, 512)
    error = qemu_img.fails("resize", disk.filename, "1M")
    golden(error)
    disk.verify()
    disk.resize(MIB + 64 * KIB)
    disk.verify()
    disk.resize(4 * MIB)
    disk.verify()
    assert qemu_img.json("info", disk.filename)["virtual-size"] == 4 * MIB
    golden(qemu_img.fails("resize", disk.filename, "--", "-5M"))
    assert "No errors were found" in qemu_img("check", disk.filename)

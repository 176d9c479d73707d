"""This case checks that qemu-img does with a raw volume's size what it says that it does.

How: over NBD a resize is refused in QEMU's words, and neither size nor data change; the target's
own resize then grows with zeroes and shrinks without touching what stays.
Guards: resize-false-success, grow-exposes-old-data, resize-not-notified.
"""

from qbdcheck.kit import case

KIB, MIB = 1 << 10, 1 << 20


@case(groups="img size", requires="nbd resize")
def test(new_disk, qemu_io, qemu_img, golden):
    disk = new_disk("2M")
    for size in ("3M", "+1k"):
        golden(qemu_img.fails("resize", disk.filename, size))
    golden(qemu_img.fails("resize", disk.filename, "1M"))
    golden(qemu_img.fails("resize", "--shrink", disk.filename, "1M"))
    assert qemu_img.json("info", disk.filename)["virtual-size"] == 2 * MIB
    disk.verify()
    for size in (3 * MIB, MIB + 512, 2 * MIB):
        disk.resize(size)
        assert qemu_img.json("info", disk.filename)["virtual-size"] == size
        disk.verify()
        with qemu_io(disk) as io:
            io.write(size - 4096, 4096)
    disk.verify()

"""This case checks that `qemu-img dd` onto a volume writes all of its blocks in place.

How: a file of stamps is written onto a prefilled volume with several block sizes. What is behind
the end of the file must stay.
Guards: phantom-write, misdirected-write, last-block-overrun.
Related: torn-write.
"""

from qbdcheck.kit import case

KIB = 1 << 10


@case(groups="img convert quick", requires="nbd", basis="MUST: qemu-img(1), dd")
def test(new_disk, qemu_img, scratch):
    disk = new_disk("2M")
    for size in (512, 4 * KIB, 37 * 512, 256 * KIB):
        data = disk.shadow.stamped(0, 300 * KIB)
        source = scratch / "source"
        source.write_bytes(data)
        name = disk.backend.filename
        qemu_img("dd", "-f", "raw", "-O", "raw", f"bs={size}", f"if={source}", f"of={name}")
        disk.shadow.write(0, data)
        disk.verify()

"""This case checks that rebase past a shorter layer keeps the zeroes behind the end of that layer.

How: a chain of three, whose middle is shorter than the others. Behind its end the top reads as
zeroes, although the base has data there. The top is rebased onto the base, and then onto nothing.
Each time it must read as before. The end of the middle is at, inside and far before the top's.
Related: last-block-overrun, status-hole-over-dirty, clone-copyup-lost.
"""

from qbdcheck.kit import case
from qbdcheck.kit.expectations import expect_sound

KIB, MIB = 1 << 10, 1 << 20
ENDS = (MIB, MIB + 133 * KIB, 64 * KIB)
REBASE_S = 10.0


@case(groups="img backing qcow2 size", basis="MUST: qemu-img(1), rebase")
def test(new_disk, qemu_io, qemu_img):
    base = new_disk("2M")
    for end in ENDS:
        middle, top = (new_disk(size, prefill=False, format="qcow2") for size in (end, 2 * MIB))
        below = base
        for disk in (middle, top):
            backing = ("-F", below.format, "-b", below.filename)
            name = disk.backend.filename
            qemu_img("create", "-q", "-f", "qcow2", *backing, name, str(disk.size))
            visible = min(disk.size, below.size)
            disk.shadow.write(0, below.shadow.expected(0, visible))
            below = disk
        with qemu_io(middle) as io:
            io.write(7 * KIB, 20 * KIB)
        top.shadow.write(0, middle.shadow.expected(0, end))
        with qemu_io(top) as io:
            io.write(end + 300 * KIB + 5, 1000)
        top.verify()
        qemu_img("rebase", "-F", "raw", "-b", base.filename, top.filename, timeout_s=REBASE_S)
        top.verify()
        qemu_img("rebase", "-b", "", top.filename, timeout_s=REBASE_S)
        top.verify()
        expect_sound(qemu_img, top.filename)
    base.verify()

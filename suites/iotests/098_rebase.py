"""This case checks that rebase changes the backing file of an overlay and never what it reads.

How: a chain of three on three volumes. The top is rebased onto the base, past the middle, and then
onto nothing. Each time it must read as before, and not need the volume that it left.
Related: clone-copyup-lost, status-hole-over-dirty, discard-exposes-backing.
"""

from qbdcheck.kit import case
from qbdcheck.kit.expectations import expect_sound

KIB, MIB = 1 << 10, 1 << 20


@case(groups="img backing qcow2", basis="MUST: qemu-img(1), rebase")
def test(new_disk, qemu_io, qemu_img):
    base = new_disk("1M")
    middle, top = (new_disk("1M", prefill=False, format="qcow2") for _ in range(2))
    below = base
    for disk in (middle, top):
        backing = ("-F", below.format, "-b", below.filename)
        qemu_img("create", "-q", "-f", "qcow2", *backing, disk.backend.filename)
        disk.shadow.write(0, below.shadow.expected(0, below.size))
        below = disk
    with qemu_io(middle) as io:
        io.write(100 * KIB, 300 * KIB)
        io.write_zeroes(700 * KIB, 100 * KIB)
    top.shadow.write(0, middle.shadow.expected(0, MIB))
    with qemu_io(top) as io:
        io.write(200 * KIB + 5, 1000)
        io.write_zeroes(900 * KIB, 64 * KIB)
    qemu_img("rebase", "-F", "raw", "-b", base.filename, top.filename)
    with qemu_io(middle) as io:
        io.write(0, MIB, pattern=0x11)
    top.verify()
    qemu_img("rebase", "-b", "", top.filename)
    assert "backing-filename" not in qemu_img.json("info", top.filename), (
        "the top still has a backing file after rebase onto nothing"
    )
    base.verify()
    with qemu_io(base) as io:
        io.write(0, MIB, pattern=0x22)
    top.verify()
    for disk in (top, middle):
        expect_sound(qemu_img, disk.filename)

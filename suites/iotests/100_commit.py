"""This case checks that commit copies all of an overlay's data into the volume below.

How: an overlay with data and zeroes is committed into its base volume. The base and the emptied
overlay must read as the overlay did before. With -d the overlay keeps its clusters.
Guards: phantom-write, write-zeroes-noop, close-error-lost.
Related: status-hole-over-dirty.
"""

from qbdcheck.kit import case
from qbdcheck.kit.expectations import expect_sound

KIB, MIB = 1 << 10, 1 << 20


@case(groups="img commit backing qcow2", basis="MUST: qemu-img(1), commit")
def test(new_disk, qemu_io, qemu_img):
    for keep in ((), ("-d",)):
        base, top = new_disk("2M"), new_disk("2M", prefill=False, format="qcow2")
        backing = ("-F", "raw", "-b", base.filename)
        qemu_img("create", "-q", "-f", "qcow2", *backing, top.backend.filename)
        top.shadow.write(0, base.shadow.expected(0, base.size))
        with qemu_io(top) as io:
            io.write(3, 70 * KIB)
            io.write_zeroes(512 * KIB + 512, 200 * KIB)
            io.write(MIB, 512 * KIB)
            io.write(2 * MIB - 1, 1, pattern=9)
        qemu_img("commit", "-q", *keep, top.filename)
        base.shadow.write(0, top.shadow.expected(0, top.size))
        base.verify()
        top.verify()
        own = any(extent["depth"] == 0 for extent in qemu_img.json("map", top.filename))
        assert own == bool(keep), (
            f"commit {' '.join(keep)}: expected own clusters {bool(keep)}, got {own}"
        )
        expect_sound(qemu_img, top.filename)

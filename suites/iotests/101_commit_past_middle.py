"""This case checks that `commit -b` commits a chain of three into its base.

How: each layer has data that hides the layers below, and data that does not. The top is committed
into the base, past the middle. The base must read as the top did.
Guards: phantom-write.
Related: clone-copyup-lost, wrong-volume-or-lun.
"""

from itertools import pairwise

from qbdcheck.kit import case
from qbdcheck.kit.expectations import expect_sound

KIB, MIB = 1 << 10, 1 << 20


@case(groups="img commit backing qcow2", basis="MUST: qemu-img(1), commit")
def test(new_disk, qemu_io, qemu_img):
    chain = [new_disk("1M"), *(new_disk("1M", prefill=False, format="qcow2") for _ in range(2))]
    for number, (below, disk) in enumerate(pairwise(chain)):
        backing = ("-F", below.format, "-b", below.filename)
        qemu_img("create", "-q", "-f", "qcow2", *backing, disk.backend.filename)
        disk.shadow.write(0, below.shadow.expected(0, MIB))
        with qemu_io(disk) as io:
            io.write(96 * KIB * (number + 1), 200 * KIB)
            io.write_zeroes(MIB - 150 * KIB * (number + 1), 40 * KIB)
            io.write(MIB - 512 * (number + 1), 512)
    base, middle, top = chain
    qemu_img("commit", "-q", "-b", base.filename, top.filename)
    base.shadow.write(0, top.shadow.expected(0, MIB))
    base.verify()
    top.verify()
    for disk in (middle, top):
        expect_sound(qemu_img, disk.filename)

"""This case checks that a chain of three images on three volumes reads as the layers demand.

How: each layer has data next to, across and above that of the others, aligned to clusters and not.
Every write to the top copies the rest of its cluster from below. The lower volumes must not change.
Related: clone-copyup-lost, iov-offset-ignored, wrong-volume-or-lun, status-hole-over-dirty.
"""

from itertools import pairwise

from qbdcheck.kit import case
from qbdcheck.kit.expectations import expect_sound

KIB, MIB = 1 << 10, 1 << 20


@case(groups="format backing qcow2", basis="MUST: QEMU, interop/qcow2")
def test(new_disk, qemu_io, qemu_img):
    chain = [new_disk("2M"), *(new_disk("2M", prefill=False, format="qcow2") for _ in range(2))]
    for number, (below, disk) in enumerate(pairwise(chain)):
        backing = ("-F", below.format, "-b", below.filename)
        qemu_img("create", "-q", "-f", "qcow2", *backing, disk.backend.filename)
        disk.shadow.write(0, below.shadow.expected(0, below.size))
        with qemu_io(disk) as io:
            io.write(30 * KIB + 77 * KIB * number, 150 * KIB)
            io.write_zeroes(MIB + 40 * KIB * number, 100 * KIB)
            for place in range(6):
                io.write(MIB + 512 * KIB + 50_001 * place + number, 700)
            io.read(MIB, 200 * KIB)
    for disk in chain:
        disk.verify()
        if disk.format == "qcow2":
            expect_sound(qemu_img, disk.filename)

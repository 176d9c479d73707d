"""This case checks that a discard in an overlay gives zeroes and not the backing volume's old data.

How: written, partly written and never written clusters of an overlay are discarded. Whole clusters
must then read as zeroes, never as what the backing volume contains.
Related: discard-exposes-backing, discard-overreach, zero-unmap-not-durable.
"""

from qbdcheck.kit import case
from qbdcheck.kit.expectations import expect_sound, expect_zeroes

KIB, MIB = 1 << 10, 1 << 20


@case(groups="format discard backing qcow2", basis="MUST: QEMU, interop/qcow2")
def test(new_disk, qemu_io, qemu_img):
    base, top = new_disk("1M"), new_disk("1M", prefill=False, format="qcow2")
    backing = ("-F", "raw", "-b", base.filename)
    qemu_img("create", "-q", "-f", "qcow2", *backing, top.backend.filename)
    top.shadow.write(0, base.shadow.expected(0, base.size))
    with qemu_io(top) as io:
        io.write(64 * KIB, 192 * KIB)
        io.write(512 * KIB + 100, 200)
        io.discard(64 * KIB, 128 * KIB)
        io.discard(512 * KIB, 64 * KIB)
        io.discard(768 * KIB, 64 * KIB)
        io.discard(200 * KIB + 512, 8 * KIB)
        io.read(0, 256 * KIB)
    top.verify()
    base.verify()
    with qemu_io(top, read_only=True) as io:
        expect_zeroes(io.read(64 * KIB, 128 * KIB), "the discarded clusters at 64 KiB")
        expect_zeroes(io.read(512 * KIB, 64 * KIB), "the discarded cluster at 512 KiB")
    expect_sound(qemu_img, top.filename)

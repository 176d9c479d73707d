"""This case checks that an overlay larger than its backing volume reads as zeroes behind that.

How: the backing volume ends within a cluster of the overlay. Reads and writes go across that end,
and the overlay grows further. No old data of the volumes may be visible.
Guards: last-block-overrun.
Related: grow-exposes-old-data, oob-past-end, previous-tenant-data.
"""

from qbdcheck.kit import case
from qbdcheck.kit.expectations import expect_sound
from qbdcheck.kit.volume_limits import size_unit

KIB, MIB = 1 << 10, 1 << 20


@case(groups="format backing qcow2 size", basis="MUST: QEMU, interop/qcow2")
def test(new_disk, qemu_io, qemu_img, target):
    base = new_disk(MIB - 5 * size_unit(target))
    top = new_disk("2M", prefill=False, format="qcow2")
    backing = ("-F", "raw", "-b", base.filename)
    qemu_img("create", "-q", "-f", "qcow2", *backing, top.backend.filename, str(top.size))
    top.shadow.write(0, base.shadow.expected(0, base.size))
    with qemu_io(top) as io:
        io.read(base.size - 4096, 8192)
        io.write(base.size - 100, 50)
        io.write(base.size + 513, 7)
        io.write(MIB + 100 * KIB, 512)
    top.verify()
    top.resize(3 * MIB)
    with qemu_io(top) as io:
        io.write(2 * MIB + 1, 512)
    top.verify()
    base.verify()
    expect_sound(qemu_img, top.filename)

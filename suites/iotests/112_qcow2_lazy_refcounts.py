"""This case checks that an image with lazy refcounts survives the death of its writer.

How: qemu-io is killed after a flush, which leaves stale refcounts on the volume. QEMU must detect
that, repair them when it opens the image again, and have all that was flushed.
Guards: map-entry-shifted.
Related: flush-noop, close-drops-dirty, destage-reorder.
"""

from qbdcheck.kit import case
from qbdcheck.kit.expectations import expect_equal, expect_in, expect_sound

KIB = 1 << 10


@case(groups="format qcow2 flush crash quick", basis="MUST: QEMU, interop/qcow2")
def test(new_disk, qemu_io, qemu_img):
    disk = new_disk("1M", prefill=False, format="qcow2")
    disk.create_image(disk.size, "lazy_refcounts=on")
    io = qemu_io(disk)
    for cluster in (7, 1, 12):
        io.write(64 * KIB * cluster + 512, 100 * KIB)
    io.flush()
    io.abandon()
    stale = qemu_img.run("check", disk.filename, check=False)
    expect_in("refcount=0 reference=1", stale.stderr, "qemu-img check of the killed writer's image")
    expect_equal(
        qemu_img.json("info", disk.filename)["dirty-flag"], True, "the dirty flag after the kill"
    )
    with qemu_io(disk) as io:
        io.write(900 * KIB, 512)
    expect_equal(
        qemu_img.json("info", disk.filename)["dirty-flag"], False, "the dirty flag after the repair"
    )
    expect_sound(qemu_img, disk.filename)
    disk.verify()

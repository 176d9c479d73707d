"""This case checks that a new image on a volume full of old data reads as zeroes.

How: a qcow2 image is created on a prefilled volume. No old stamp may be visible: not before the
first write, and not around small writes that copy the rest of their cluster.
Related: false-zero-init, previous-tenant-data, grow-exposes-old-data.
"""

from oracles.shadow import Shadow
from qbdcheck.kit import case
from qbdcheck.kit.blockdev import json_filename, over
from qbdcheck.kit.expectations import expect_in, expect_sound

SIZE = 4 << 20


@case(groups="img format qcow2", basis=("MUST: qemu-img(1), create", "MUST: QEMU, interop/qcow2"))
def test(disk, qemu_io, qemu_img):
    qemu_img("create", "-q", "-f", "qcow2", disk.backend.filename, str(SIZE))
    image = json_filename(over("qcow2", disk.protocol_blockdev()))
    shadow = Shadow(SIZE, disk.shadow.identity)
    with qemu_io(image, shadow=shadow) as io:
        io.read(0, 512 << 10)
        expect_in("4 MiB (0x400000) bytes not allocated", io("map"), "the map of the new image")
        for offset, length in ((512, 512), (65536 - 7, 15), ((1 << 20) + 4096, 70_000)):
            io.write(offset, length)
    with qemu_io(image, read_only=True, shadow=shadow) as io:
        for offset in (0, 1 << 20, SIZE - (256 << 10)):
            io.read(offset, 256 << 10)
    expect_sound(qemu_img, image)

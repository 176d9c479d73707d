"""This case checks that a new image on a volume full of old data reads as zeroes.

How: a qcow2 image is made on a prefilled volume. Nothing of the old stamps may show through: not
before the first write, not around small writes that copy the rest of their cluster.
Guards: false-zero-init, previous-tenant-data, grow-exposes-old-data.
"""

from oracles.shadow import Shadow
from qbdcheck.kit import case
from qbdcheck.kit.blockdev import json_filename, over

SIZE = 4 << 20


@case(groups="img format qcow2")
def test(disk, qemu_io, qemu_img):
    qemu_img("create", "-q", "-f", "qcow2", disk.backend.filename, str(SIZE))
    image = json_filename(over("qcow2", disk.protocol_blockdev()))
    shadow = Shadow(SIZE, disk.shadow.identity)
    with qemu_io(image, shadow=shadow) as io:
        io.read(0, 512 << 10)
        assert "4 MiB (0x400000) bytes not allocated" in io("map")
        for offset, length in ((512, 512), (65536 - 7, 15), ((1 << 20) + 4096, 70_000)):
            io.write(offset, length)
    with qemu_io(image, read_only=True, shadow=shadow) as io:
        for offset in (0, 1 << 20, SIZE - (256 << 10)):
            io.read(offset, 256 << 10)
    assert "No errors were found" in qemu_img("check", image)

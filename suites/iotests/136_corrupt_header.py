"""This case checks that an image with a damaged header is refused with the reason.

How: single fields of a qcow2 header are overwritten on the volume. QEMU must report what is wrong
and not change the volume. With the field restored the image must be as it was.
Guards: negative-size, config-byteswapped.
Related: size-int-overflow.
"""

from qbdcheck.kit import case
from qbdcheck.kit.blockdev import json_filename, over
from qbdcheck.kit.expectations import expect_same, expect_sound

FIELDS = {  # offset, length, value: docs/interop/qcow2.rst of QEMU
    "magic": (0, 4, 0x00),
    "version": (4, 4, 0xFF),
    "cluster bits": (20, 4, 0x01),
    "size": (24, 8, 0xFF),
    "encryption": (32, 4, 0x03),
    "L1 entries": (36, 4, 0x7F),
    "L1 offset": (40, 8, 0x01),
    "refcount order": (96, 4, 0x09),
    "incompatible features": (72, 8, 0x80),
}


@case(groups="format errors qcow2", basis="MUST: QEMU, interop/qcow2")
def test(new_disk, qemu_io, qemu_img, golden):
    disk = new_disk("1M", format="qcow2")
    volume = json_filename(over("raw", disk.protocol_blockdev()))
    with qemu_io(volume, read_only=True) as io:
        header = io.read(0, 512)
    for what, (offset, length, value) in FIELDS.items():
        with qemu_io(volume) as io:
            io.write(offset, length, pattern=value)
            damaged = io.read(0, 512)
        error = qemu_img.fails("map", disk.filename)
        golden(f"{what}:", error.rpartition("': ")[2])
        with qemu_io(volume) as io:
            expect_same(io.read(0, 512), damaged, f"{what}: the header after opening")
            for place in range(offset, offset + length):
                io.write(place, 1, pattern=header[place])
    disk.verify()
    expect_sound(qemu_img, disk.filename)

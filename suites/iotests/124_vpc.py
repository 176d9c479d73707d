"""This case checks that VPC images keep their data on a volume.

How: a dynamic image allocates blocks of 2 MiB with bitmaps of sectors, in an odd order. Then a
fixed image is made on a volume that ends right behind its footer. Both are read back after
reopening.
Guards: size-rounded-down, last-block-overrun.
Related: map-entry-shifted.
"""

from oracles.shadow import Shadow
from qbdcheck.kit import case
from qbdcheck.kit.blockdev import json_filename, over
from qbdcheck.kit.expectations import expect_same, expect_size
from qbdcheck.kit.volume_limits import size_unit

KIB, MIB = 1 << 10, 1 << 20


@case(groups="format size", basis="MUST: qemu-block-drivers(7), vpc")
def test(new_disk, qemu_io, qemu_img, scratch, target):
    disk = new_disk("5M", prefill=False, format="vpc")
    with qemu_io(disk) as io:
        for offset in (4 * MIB + 513, 2 * MIB - 7, 100, disk.size - 512):
            io.write(offset, 512)
        io.write_zeroes(2 * MIB, 4 * KIB)
        io.write(3 * MIB, MIB)
    disk.verify()
    expect_size(qemu_img, disk.filename, disk.size)
    unit = size_unit(target)
    volume = new_disk(MIB + unit)
    size = volume.size - 512  # the rest is the footer
    options = ("-o", "subformat=fixed,force_size=on")
    qemu_img("create", "-q", "-f", "vpc", *options, volume.backend.filename, str(size))
    volume.shadow.discard(0, size)
    image = json_filename(over("vpc", volume.protocol_blockdev()))
    with qemu_io(image, shadow=Shadow(size)) as io:
        io.write(0, size)
        io.write(size - 512, 512)
        read = io.read(0, size)
    copy = scratch / "copy"
    qemu_img("dd", "-O", "raw", "bs=1M", f"if={image}", f"of={copy}")
    expect_same(copy.read_bytes(), read, "the fixed image, read by qemu-img dd")
    expect_same(volume.read_all(0, size).tobytes(), read, "the raw data in front of the footer")

"""This case checks that VPC images keep their data on a volume.

How: a dynamic image allocates blocks of 2 MiB with bitmaps of sectors, in an odd order; then a
fixed one on a volume that ends right behind its footer. Both are read back after reopening.
Guards: map-entry-shifted, size-rounded-down, last-block-overrun.
"""

from oracles.shadow import Shadow
from qbdcheck.kit import case
from qbdcheck.kit.blockdev import json_filename, over

KIB, MIB = 1 << 10, 1 << 20


@case(groups="format size")
def test(new_disk, qemu_io, qemu_img, scratch):
    disk = new_disk("5M", prefill=False, format="vpc")
    with qemu_io(disk) as io:
        for offset in (4 * MIB + 513, 2 * MIB - 7, 100, disk.size - 512):
            io.write(offset, 512)
        io.write_zeroes(2 * MIB, 4 * KIB)
        io.write(3 * MIB, MIB)
    disk.verify()
    assert qemu_img.json("info", disk.filename)["virtual-size"] == disk.size
    volume = new_disk(MIB + 512)
    options = ("-o", "subformat=fixed,force_size=on")
    qemu_img("create", "-q", "-f", "vpc", *options, volume.backend.filename, str(MIB))
    volume.shadow.discard(0, MIB)
    image = json_filename(over("vpc", volume.protocol_blockdev()))
    with qemu_io(image, shadow=Shadow(MIB)) as io:
        io.write(0, MIB)
        io.write(MIB - 512, 512)
        read = io.read(0, MIB)
    copy = scratch / "copy"
    qemu_img("dd", "-O", "raw", "bs=1M", f"if={image}", f"of={copy}")
    assert copy.read_bytes() == read
    assert volume.read_all(0, MIB).tobytes() == read, "a fixed image is raw data with a footer"

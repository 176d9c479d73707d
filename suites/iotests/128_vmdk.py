"""This case checks that VMDK images keep their data on a volume.

How: QEMU makes a full image in a file, and its bytes go onto a volume of just that size, since most
formats grow and a volume does not. On the volume it is read, overwritten in odd places and checked.
Guards: map-entry-shifted, unaligned-offset-rounded, last-block-overrun, phantom-write.
"""

from oracles.shadow import Shadow
from qbdcheck.kit import case
from qbdcheck.kit.blockdev import json_filename, over

KIB, MIB = 1 << 10, 1 << 20
SIZE = 3 * MIB


@case(groups="format quick")
def test(new_disk, qemu_io, qemu_img, scratch):
    local, source, read = scratch / "local", scratch / "source", scratch / "read"
    shadow = Shadow(SIZE)
    source.write_bytes(shadow.prefill().tobytes())
    qemu_img("convert", "-f", "raw", "-O", "vmdk", source, local)
    size = -(-local.stat().st_size // 512) * 512
    volume = new_disk(size)
    qemu_img("convert", "-n", "-f", "raw", "-O", "raw", local, volume.filename)
    image = json_filename(over("vmdk", volume.protocol_blockdev()))
    with qemu_io(image, shadow=shadow) as io:
        io.read(MIB - 4 * KIB, 8 * KIB)
        for offset, length in ((0, 512), (MIB - 3, 70 * KIB), (2 * MIB + 511, 2), (SIZE - 1, 1)):
            io.write(offset, length)
        io.flush()
        io.read(MIB - 64 * KIB, 200 * KIB)
    qemu_img("dd", "-O", "raw", "bs=1M", f"if={image}", f"of={read}")
    assert shadow.check(0, read.read_bytes()) == []
    assert qemu_img.json("check", image)["check-errors"] == 0

"""This case checks that a stream-optimized VMDK reads right from a volume.

How: QEMU writes such an image into a file; on a volume it must read as its source, with data that
does and does not compress, holes, and zeroes at its end.
Guards: short-read-resume-offset, unaligned-offset-rounded, size-rounded-down.
"""

from qbdcheck.kit import case
from qbdcheck.kit.blockdev import json_filename, over

KIB, MIB = 1 << 10, 1 << 20


@case(groups="format convert")
def test(new_disk, qemu_io, qemu_img, scratch, seed):
    local, read = scratch / "local", scratch / "read"
    source = new_disk("3M")
    with qemu_io(source) as io:
        io.write(300 * KIB, 200 * KIB, pattern=0x5A)
        io.write_zeroes(MIB, 512 * KIB, unmap=True)
        io.write(2 * MIB + 1, 100)
        io.write_zeroes(source.size - 100 * KIB, 100 * KIB)
    words = ("-O", "vmdk", "-o", "subformat=streamOptimized")
    qemu_img("convert", *words, source.filename, local)
    volume = new_disk(-(-local.stat().st_size // 512) * 512)
    qemu_img("convert", "-n", "-f", "raw", "-O", "raw", local, volume.filename)
    image = json_filename(over("vmdk", volume.protocol_blockdev()))
    qemu_img("dd", "-O", "raw", "bs=1M", f"if={image}", f"of={read}")
    assert source.shadow.check(0, read.read_bytes()) == []
    assert "identical" in qemu_img("compare", source.filename, image)
    info = qemu_img.json("info", image)["format-specific"]["data"]
    assert info["create-type"] == "streamOptimized"

"""This case checks that a stream-optimized VMDK image reads correctly from a volume.

How: QEMU writes such an image into a file. On a volume it must read like its source, with data that
does and does not compress, holes, and zeroes at its end.
Guards: unaligned-offset-rounded, size-rounded-down.
Related: short-read-resume-offset.
"""

from qbdcheck.kit import case
from qbdcheck.kit.blockdev import json_filename, over
from qbdcheck.kit.expectations import expect_content, expect_identical
from qbdcheck.kit.nbd_requests import widened
from qbdcheck.kit.volume_limits import size_unit

KIB, MIB = 1 << 10, 1 << 20


@case(groups="format convert", basis="MUST: qemu-block-drivers(7), vmdk")
def test(new_disk, qemu_io, qemu_img, scratch, target):
    local, read = scratch / "local", scratch / "read"
    source = new_disk("3M")
    with qemu_io(source) as io:
        io.write(300 * KIB, 200 * KIB, pattern=0x5A)
        io.write_zeroes(MIB, 512 * KIB, unmap=True)
        io.write(2 * MIB + 1, 100)
        io.write_zeroes(source.size - 100 * KIB, 100 * KIB)
    arguments = ("-O", "vmdk", "-o", "subformat=streamOptimized")
    qemu_img("convert", *arguments, source.filename, local)
    volume = new_disk(widened(0, local.stat().st_size, size_unit(target))[1])
    qemu_img("convert", "-n", "-f", "raw", "-O", "raw", local, volume.filename)
    image = json_filename(over("vmdk", volume.protocol_blockdev()))
    qemu_img("dd", "-O", "raw", "bs=1M", f"if={image}", f"of={read}")
    expect_content(source.shadow, 0, read.read_bytes(), "the image, read by qemu-img dd")
    expect_identical(qemu_img, source.filename, image)
    info = qemu_img.json("info", image)["format-specific"]["data"]
    kind = info["create-type"]
    assert kind == "streamOptimized", f"expected the create-type streamOptimized, got {kind}"

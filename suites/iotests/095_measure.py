"""This case checks that `qemu-img measure` reports enough room for an image of a volume.

How: for a full volume the numbers are known. With holes they may differ between targets, but an
image made on a volume of just the required size must fit and be correct.
Guards: last-block-overrun.
Related: status-hole-over-dirty, size-rounded-down.
"""

from qbdcheck.kit import case
from qbdcheck.kit.blockdev import json_filename, node, over
from qbdcheck.kit.expectations import expect_identical, expect_sound


@case(groups="img size quick", basis="MUST: qemu-img(1), measure")
def test(new_disk, qemu_io, qemu_img, golden, scratch):
    disk = new_disk("2M")
    with qemu_io(disk) as io:
        io.write(0, disk.size)
    # A target may round the size up. The known numbers are of a volume of 2 MiB.
    window = json_filename(node("raw", None, size=2 << 20, file=disk.protocol_blockdev()))
    for options in ("cluster_size=64k", "cluster_size=512", "preallocation=full", "compat=0.10"):
        sizes = qemu_img.json("measure", "-O", "qcow2", "-o", options, window)
        golden(options, sizes["required"], sizes["fully-allocated"])
    golden("raw", qemu_img.json("measure", "-O", "raw", window)["required"])
    with qemu_io(disk) as io:
        io.write_zeroes(512 << 10, 1 << 20, unmap=True)
    required = qemu_img.json("measure", "-O", "qcow2", disk.filename)["required"]
    place = new_disk(required, prefill=True)
    qemu_img("convert", "-O", "qcow2", disk.filename, place.backend.filename)
    image = json_filename(over("qcow2", place.protocol_blockdev()))
    expect_identical(qemu_img, disk.filename, image)
    expect_sound(qemu_img, image)
    disk.verify()

"""This case checks that an image with its data on a second volume writes both volumes correctly.

How: the metadata is on one volume and the raw data on another. At any time the second volume alone
must contain the guest's data at the guest's offsets, and so must the image, also after reopening.
Related: flush-one-child-only, wrong-volume-or-lun, misdirected-write.
"""

from qbdcheck.kit import case
from qbdcheck.kit.blockdev import json_filename, over
from qbdcheck.kit.data_file import create_over
from qbdcheck.kit.expectations import expect_equal, expect_identical, expect_sound

KIB, MIB = 1 << 10, 1 << 20


@case(groups="format qcow2", basis="MUST: QEMU, interop/qcow2")
def test(new_disk, qemu_io, qemu_img, storage_daemon):
    meta, data = new_disk("2M"), new_disk("2M")
    create_over(storage_daemon, meta, data, data.size, raw=True)
    nodes = over("qcow2", meta.protocol_blockdev(), data_file=data.protocol_blockdev())
    image = json_filename(nodes)
    data.shadow.discard(0, data.size)  # create may clear any part of it
    data.verify()
    with qemu_io(image, shadow=data.shadow) as io:
        io.write(0, 100 * KIB)
        io.write(MIB - 3, 70 * KIB)
        io.write_zeroes(1500 * KIB, 200 * KIB)
        io.write(2 * MIB - 512, 512)
        io.read(0, 256 * KIB)
    data.verify()
    expect_identical(qemu_img, image, data.filename)
    with qemu_io(image, shadow=data.shadow) as io:
        io.read(1400 * KIB, 200 * KIB)
        io.discard(64 * KIB, 64 * KIB)
        io.write(300 * KIB, 5)
    data.verify()  # after a discard the image and the volume may differ
    expect_sound(qemu_img, image)
    info = qemu_img.json("info", image)["format-specific"]["data"]
    expect_equal(info["data-file-raw"], True, "qemu-img info, data-file-raw")

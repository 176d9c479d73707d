"""This case checks that qemu-img reports failed writes, in each command that writes.

How: convert, amend, snapshot and resize on a volume all of whose writes fail. Each must end with
the error, none may crash, and nothing may change. (bitmap: docs/findings.md#qemu-img-bitmap-close.)
Guards: close-error-lost.
Related: async-error-ignored, errno-collapsed.
"""

from errno import ENOSPC

from qbdcheck.kit import case
from qbdcheck.kit.blkdebug import blkdebug, error
from qbdcheck.kit.blockdev import json_filename, over
from qbdcheck.kit.expectations import expect_in, expect_no_check_errors
from qbdcheck.kit.faulty_image import FaultyImage


@case(groups="inject errors img convert", basis="MUST: qemu-img(1), convert")
def test(new_disk, qemu_io, qemu_img):
    source, volume = new_disk("1M"), new_disk("1M")
    disk = new_disk("1M", format="qcow2")
    full = error(number=ENOSPC, iotype="write")
    faulty = json_filename(over("raw", blkdebug(volume.protocol_blockdev(), full)))
    image = FaultyImage(disk, qemu_io, qemu_img).filename({"inject-error": [full]})
    commands = (
        ("convert", "-n", "-O", "raw", source.filename, faulty),
        ("convert", "-n", "-W", "-m", "8", "-O", "raw", source.filename, faulty),
        ("convert", "-n", "-O", "qcow2", source.filename, image),
        ("amend", "-o", "lazy_refcounts=on", image),
        ("resize", image, "4M"),
        ("snapshot", "-c", "s0", image),
    )
    for arguments in commands:
        message = qemu_img.fails(*arguments)
        expect_in("No space left on device", message, f"qemu-img {arguments[0]}")
    volume.verify()
    expect_no_check_errors(qemu_img, disk.filename)
    disk.verify()
    source.verify()

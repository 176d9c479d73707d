"""This case checks that an error of block status is reported, and never taken for a hole.

How: qemu-img map and convert over a disk whose block status fails. dd, which does not query it,
must still copy all data, and so must convert once the error is over.
Related: status-hole-over-dirty, async-error-ignored, errno-collapsed.
"""

from qbdcheck.kit import case
from qbdcheck.kit.blkdebug import blkdebug, error
from qbdcheck.kit.blockdev import json_filename, over
from qbdcheck.kit.expectations import expect_content, expect_in


@case(
    groups="inject errors status img",
    basis=("MUST: QAPI, BlockdevOptionsBlkdebug", "MUST: NBD, Metadata contexts"),
)
def test(new_disk, qemu_img, scratch):
    disk, copy = new_disk("1M"), scratch / "copy"
    # raw is above it because qemu-img map skips filters such as blkdebug.
    faulty = over("raw", blkdebug(disk.protocol_blockdev(), error(iotype="block-status")))
    faulty = json_filename(faulty)
    for arguments in (["map", faulty], ["convert", "-O", "raw", faulty, copy]):
        message = qemu_img.fails(*arguments)
        expect_in("Input/output error", message, f"qemu-img {arguments[0]}")
    qemu_img("dd", "-O", "raw", "bs=64k", f"if={faulty}", f"of={copy}")
    expect_content(disk.shadow, 0, copy.read_bytes(), "the copy")
    qemu_img("convert", "-O", "raw", disk.filename, copy)
    expect_content(disk.shadow, 0, copy.read_bytes(), "the copy")
    disk.verify()

"""This case checks that qemu-img tells when its writes fail, in each command that writes.

How: convert, amend, snapshot, resize on a volume all of whose writes fail: each ends
with the error, none crashes, nothing is changed. (bitmap: docs/findings.md#qemu-img-bitmap-close.)
Guards: close-error-lost, async-error-ignored, errno-collapsed.
"""

from errno import ENOSPC

from qbdcheck.kit import case
from qbdcheck.kit.blkdebug import blkdebug, error
from qbdcheck.kit.blockdev import json_filename, over
from qbdcheck.kit.faulty_image import FaultyImage


@case(groups="inject errors img convert")
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
    for words in commands:
        said = qemu_img.fails(*words)
        assert "No space left on device" in said, (words[0], said)
    volume.verify()
    assert qemu_img.json("check", disk.filename)["check-errors"] == 0
    disk.verify()
    source.verify()

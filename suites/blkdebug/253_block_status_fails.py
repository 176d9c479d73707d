"""This case checks that an error of block status is told, and never taken for a hole.

How: map and convert of qemu-img over a disk whose block status fails; dd, which does not ask, must
still give all data, and so must convert once the error is over.
Guards: status-hole-over-dirty, async-error-ignored, errno-collapsed.
"""

from qbdcheck.kit import case
from qbdcheck.kit.blkdebug import blkdebug, error
from qbdcheck.kit.blockdev import json_filename, over


@case(groups="inject errors status img")
def test(new_disk, qemu_img, scratch):
    disk, copy = new_disk("1M"), scratch / "copy"
    # raw above it: qemu-img map looks below filters such as blkdebug.
    faulty = over("raw", blkdebug(disk.protocol_blockdev(), error(iotype="block-status")))
    faulty = json_filename(faulty)
    for words in (["map", faulty], ["convert", "-O", "raw", faulty, copy]):
        said = qemu_img.fails(*words)
        assert "Input/output error" in said, said
    qemu_img("dd", "-O", "raw", "bs=64k", f"if={faulty}", f"of={copy}")
    assert disk.shadow.check(0, copy.read_bytes()) == []
    qemu_img("convert", "-O", "raw", disk.filename, copy)
    assert disk.shadow.check(0, copy.read_bytes()) == []
    disk.verify()

"""This case checks that qemu-img compare and dd distinguish a read error from a difference.

How: one sector of the disk cannot be read. compare must end with a status above 1 (1 means that the
images differ), and dd with 1. dd of the part in front of the sector must copy the right data.
Related: async-error-ignored, missing-object-zero-fill.
"""

from qbdcheck.kit import case
from qbdcheck.kit.blkdebug import blkdebug, error
from qbdcheck.kit.blockdev import json_filename, over
from qbdcheck.kit.expectations import expect_content, expect_in

BAD = 700


@case(groups="inject errors img reading", basis="MUST: qemu-img(1), compare")
def test(new_disk, qemu_img, scratch):
    disk, copy = new_disk("1M"), scratch / "copy"
    faulty = over("raw", blkdebug(disk.protocol_blockdev(), error(iotype="read", sector=BAD)))
    name = json_filename(faulty)
    qemu_img("convert", "-O", "raw", disk.filename, copy)
    for images in ((name, copy), (copy, name)):
        done = qemu_img.run("compare", "-U", *images, check=False)
        assert done.returncode > 1, (
            f"qemu-img compare: expected a status above 1, got {done.returncode}: {done.stdout}"
        )
    message = qemu_img.fails("dd", "-O", "raw", "bs=64k", f"if={name}", f"of={scratch / 'other'}")
    expect_in("Input/output error", message, "qemu-img dd")
    done = qemu_img.run("dd", "-O", "raw", "bs=64k", "count=3", f"if={name}", f"of={copy}")
    expect_content(disk.shadow, 0, copy.read_bytes()[: 3 * 65536], "the copy")
    disk.verify()

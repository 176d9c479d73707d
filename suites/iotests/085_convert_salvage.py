"""This case checks that a read error stops convert, and --salvage loses only the bad blocks.

How: QEMU's blkdebug above the volume fails the reads of one sector. Without --salvage convert must
fail with an error. With it everything else is copied, and the unreadable block becomes zeroes.
Related: async-error-ignored, missing-object-zero-fill, error-kills-connection.
"""

from qbdcheck.kit import case
from qbdcheck.kit.blockdev import json_filename, node, over
from qbdcheck.kit.expectations import expect_content, expect_zeroes

SECTOR = 515
BAD = 512 * SECTOR


@case(groups="img convert errors reading quick", basis="MUST: qemu-img(1), convert")
def test(new_disk, qemu_img, scratch, golden):
    disk = new_disk("512k")
    rule = {"event": "none", "iotype": "read", "sector": SECTOR, "errno": 5, "immediately": False}
    faulty = node("blkdebug", image=disk.protocol_blockdev(), inject_error=[rule])
    source = json_filename(over("raw", faulty))
    copy = scratch / "copy"
    error = qemu_img.fails("convert", "-O", "raw", source, copy)
    golden("without --salvage:", error.rpartition(": ")[2])
    done = qemu_img.run("convert", "--salvage", "-O", "raw", source, copy)
    golden(done.stderr)
    expect_content(disk.shadow, 0, copy.read_bytes()[:BAD], "the copy")
    data = copy.read_bytes()
    expect_content(disk.shadow, BAD + 512, data[BAD + 512 :], "the copy behind the bad sector")
    expect_zeroes(data[BAD : BAD + 512], "the bad sector in the copy")
    disk.verify()

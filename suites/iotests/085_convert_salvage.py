"""This case checks that a read error ends convert, and that --salvage loses just the bad blocks.

How: QEMU's blkdebug above the volume fails the reads of one sector. Without --salvage convert must
fail and say so; with it everything else arrives, and what cannot be read is zeroes.
Guards: async-error-ignored, missing-object-zero-fill, error-kills-connection.
"""

from qbdcheck.kit import case
from qbdcheck.kit.blockdev import json_filename, node, over

SECTOR = 515
BAD = 512 * SECTOR


@case(groups="img convert errors quick")
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
    assert disk.shadow.check(0, copy.read_bytes()[:BAD]) == []
    assert disk.shadow.check(BAD + 512, copy.read_bytes()[BAD + 512 :]) == []
    assert copy.read_bytes()[BAD : BAD + 512] == bytes(512)
    disk.verify()

"""This case checks that compare and dd of qemu-img tell an unreadable sector from a difference.

How: one sector of the disk cannot be read: compare ends with a status above 1 (not 1, "differ", nor
0), dd with 1 and no success; salvage of a qcow2 above saves all clusters but the bad one.
Guards: async-error-ignored, missing-object-zero-fill.
"""

from qbdcheck.kit import case
from qbdcheck.kit.blkdebug import blkdebug, error
from qbdcheck.kit.blockdev import json_filename, over

BAD = 700


@case(groups="inject errors img")
def test(new_disk, qemu_img, scratch):
    disk, copy = new_disk("1M"), scratch / "copy"
    faulty = over("raw", blkdebug(disk.protocol_blockdev(), error(iotype="read", sector=BAD)))
    name = json_filename(faulty)
    qemu_img("convert", "-O", "raw", disk.filename, copy)
    for images in ((name, copy), (copy, name)):
        done = qemu_img.run("compare", "-U", *images, check=False)
        assert done.returncode > 1, (done.returncode, done.stdout)
    said = qemu_img.fails("dd", "-O", "raw", "bs=64k", f"if={name}", f"of={scratch / 'other'}")
    assert "Input/output error" in said, said
    done = qemu_img.run("dd", "-O", "raw", "bs=64k", "count=3", f"if={name}", f"of={copy}")
    assert disk.shadow.check(0, copy.read_bytes()[: 3 * 65536]) == []
    disk.verify()

"""This case checks that a request larger than max-transfer is done in pieces, and fails as one.

How: reads, writes and copies of up to 1 MiB over pieces of 4 KiB to 64 KiB are right. With an error
at one sector in the midst the whole request fails; before it the data is new, behind it old.
Guards: iov-offset-ignored, short-read-resume-offset, async-error-ignored.
"""

from errno import EIO

import pytest

from qbdcheck.kit import IoFailed, case
from qbdcheck.kit.blkdebug import blkdebug, errno_of_failure, error
from qbdcheck.kit.blockdev import json_filename

AT, LENGTH, BAD = 96 << 10, 512 << 10, 300 << 10


@case(groups="inject errors blocksize")
def test(new_disk, qemu_io, qemu_img, scratch):
    disk = new_disk("1M")
    for piece in (4096, 20480, 65536):
        node = blkdebug(disk.protocol_blockdev(), max_transfer=piece)
        with qemu_io(json_filename(node), shadow=disk.shadow) as io:
            io.write(AT, LENGTH)
            io.read(AT - 512, 70_000)
        qemu_img("convert", "-O", "raw", json_filename(node), scratch / "copy")
        assert disk.shadow.check(0, (scratch / "copy").read_bytes()) == []
    rule = error(iotype="write", sector=BAD // 512, immediately=True)
    node = blkdebug(disk.protocol_blockdev(), rule, max_transfer=4096)
    old = disk.shadow.expected(0, disk.size)
    with qemu_io(json_filename(node), shadow=disk.shadow) as io:
        with pytest.raises(IoFailed) as failed:
            io.write(AT, LENGTH)
        assert errno_of_failure(failed.value) == EIO
    disk.verify()
    seen = disk.read_all().tobytes()
    assert seen[BAD + 4096 :] == old[BAD + 4096 :], "written behind the error"
    assert seen[AT : BAD - 4096] != old[AT : BAD - 4096], "nothing was written before the error"

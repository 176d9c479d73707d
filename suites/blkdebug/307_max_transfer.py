"""This case checks that a request larger than max-transfer is split, and fails as a whole.

How: reads, writes and copies of up to 1 MiB in pieces of 4 KiB to 64 KiB must be right. With an
error at one sector in the middle the whole request must fail. Data before the error is new, and
data behind it is old.
Guards: iov-offset-ignored, short-read-resume-offset, async-error-ignored.
"""

from qbdcheck.kit import IoFailed, case
from qbdcheck.kit.blkdebug import blkdebug, errno_of_failure, error
from qbdcheck.kit.blockdev import json_filename
from qbdcheck.kit.expectations import errno_name, expect_content, expect_equal, expect_failure

AT, LENGTH, BAD = 96 << 10, 512 << 10, 300 << 10


@case(groups="inject errors blocksize", basis="MUST: QAPI, BlockdevOptionsBlkdebug")
def test(new_disk, qemu_io, qemu_img, scratch):
    disk = new_disk("1M")
    for piece in (4096, 20480, 65536):
        node = blkdebug(disk.protocol_blockdev(), max_transfer=piece)
        with qemu_io(json_filename(node), shadow=disk.shadow) as io:
            io.write(AT, LENGTH)
            io.read(AT - 512, 70_000)
        qemu_img("convert", "-O", "raw", json_filename(node), scratch / "copy")
        expect_content(disk.shadow, 0, (scratch / "copy").read_bytes(), "the copy")
    rule = error(iotype="write", sector=BAD // 512, immediately=True)
    node = blkdebug(disk.protocol_blockdev(), rule, max_transfer=4096)
    old = disk.shadow.expected(0, disk.size)
    with qemu_io(json_filename(node), shadow=disk.shadow) as io:
        with expect_failure(IoFailed, f"write of {LENGTH} bytes at {AT}") as failed:
            io.write(AT, LENGTH)
        seen = errno_name(errno_of_failure(failed.value))
        expect_equal(seen, "EIO", f"write {AT} {LENGTH}")
    disk.verify()
    seen = disk.read_all().tobytes()
    assert seen[BAD + 4096 :] == old[BAD + 4096 :], f"data behind the error at {BAD} was written"
    assert seen[AT : BAD - 4096] != old[AT : BAD - 4096], (
        f"no data before the error at {BAD} was written"
    )

"""This case checks that a request larger than max-transfer is split, and fails as a whole.

How: reads, writes and copies of up to 1 MiB in pieces of 4 KiB to 64 KiB must be right. With an
error at one sector in the middle the whole request must fail. Data before the error is new, and
data behind it is old.
Related: iov-offset-ignored, short-read-resume-offset, async-error-ignored.
"""

from qbdcheck.kit import IoFailed, case
from qbdcheck.kit.blkdebug import blkdebug, errno_of_failure, error
from qbdcheck.kit.blockdev import json_filename
from qbdcheck.kit.expectations import errno_name, expect_content, expect_equal, expect_failure

KIB = 1 << 10


@case(groups="inject errors blocksize", basis="MUST: QAPI, BlockdevOptionsBlkdebug")
def test(new_disk, qemu_io, qemu_img, target, scratch):
    start, length, bad = (kib * KIB * target.scale for kib in (96, 512, 300))
    disk = new_disk(1024 * KIB * target.scale)
    unit = 4096 * target.scale
    for blocks in (1, 5, 16):
        node = blkdebug(disk.protocol_blockdev(), max_transfer=blocks * unit)
        with qemu_io(json_filename(node), shadow=disk.shadow) as io:
            io.write(start, length)
            io.read(start - 512, 70_000)
        qemu_img("convert", "-O", "raw", json_filename(node), scratch / "copy")
        expect_content(disk.shadow, 0, (scratch / "copy").read_bytes(), "the copy")
    rule = error(iotype="write", sector=bad // 512, immediately=True)
    node = blkdebug(disk.protocol_blockdev(), rule, max_transfer=unit)
    old = disk.shadow.expected(0, disk.size)
    with qemu_io(json_filename(node), shadow=disk.shadow) as io:
        with expect_failure(IoFailed, f"write of {length} bytes at {start}") as failed:
            io.write(start, length)
        seen = errno_name(errno_of_failure(failed.value))
        expect_equal(seen, "EIO", f"write {start} {length}")
    disk.verify()
    seen = disk.read_all().tobytes()
    assert seen[bad + unit :] == old[bad + unit :], f"data behind the error at {bad} was written"
    assert seen[start : bad - unit] != old[start : bad - unit], (
        f"no data before the error at {bad} was written"
    )

"""This case checks that a dirty bitmap covers whatever a failed guest write may have changed.

How: some guest writes fail under a bitmap, also in the middle of a long one that is split. An
incremental backup onto an older copy must make it equal to the disk, byte by byte.
Related: incremental-misses-hole, async-error-ignored, discard-not-tracked.
"""

from qbdcheck.kit import IoFailed, case
from qbdcheck.kit.blkdebug import blkdebug, error
from qbdcheck.kit.block_job import finish_job
from qbdcheck.kit.expectations import expect_equal, expect_failure, expect_same


@case(groups="inject errors backup bitmap", basis="MUST: QEMU, interop/bitmaps")
def test(new_disk, qemu_io, storage_daemon):
    disk, copy = new_disk("1M"), new_disk("1M")
    rules = [
        error(iotype="write", sector=900, once=True),
        error(iotype="write-zeroes", sector=1500, once=True),
    ]
    faulty = blkdebug(disk.protocol_blockdev(), *rules, node_name="disk", max_transfer=65536,
                      max_write_zero=65536)  # fmt: skip
    with storage_daemon() as qsd:
        qsd.add(copy.blockdev("copy"))
        qsd.add(faulty)
        start = {"device": "disk", "target": "copy", "auto_dismiss": False}
        qsd.qmp("blockdev-backup", job_id="job", sync="full", **start)
        expect_equal(finish_job(qsd).error, "", "the full backup")
        qsd.qmp("block-dirty-bitmap-add", node="disk", name="b0", granularity=65536)
        with qemu_io(qsd.export("disk"), shadow=disk.shadow) as io:
            io.write(20_000, 5000)
            with expect_failure(IoFailed, f"write of {320 << 10} bytes at {256 << 10}"):
                io.write(256 << 10, 320 << 10)
            with expect_failure(IoFailed, f"write -z of {256 << 10} bytes at {640 << 10}"):
                io.write_zeroes(640 << 10, 256 << 10)
        qsd.qmp("blockdev-backup", job_id="job", sync="incremental", bitmap="b0", **start)
        expect_equal(finish_job(qsd).error, "", "the incremental backup")
    disk.verify()
    expect_same(disk.read_all().tobytes(), copy.read_all().tobytes(), "the copy")

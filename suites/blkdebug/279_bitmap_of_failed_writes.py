"""This case checks that a dirty bitmap covers whatever a failed guest write may have changed.

How: guest writes, some of which fail under a bitmap, also in the midst of a long one in pieces; an
incremental backup onto a copy from before must make it equal to the disk, byte by byte.
Guards: incremental-misses-hole, async-error-ignored, discard-not-tracked.
"""

import pytest

from qbdcheck.kit import IoFailed, case
from qbdcheck.kit.blkdebug import blkdebug, error
from qbdcheck.kit.block_job import finish_job


@case(groups="inject errors backup bitmap")
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
        assert finish_job(qsd).error == ""
        qsd.qmp("block-dirty-bitmap-add", node="disk", name="b0", granularity=65536)
        with qemu_io(qsd.export("disk"), shadow=disk.shadow) as io:
            io.write(20_000, 5000)
            with pytest.raises(IoFailed):
                io.write(256 << 10, 320 << 10)
            with pytest.raises(IoFailed):
                io.write_zeroes(640 << 10, 256 << 10)
        qsd.qmp("blockdev-backup", job_id="job", sync="incremental", bitmap="b0", **start)
        assert finish_job(qsd).error == ""
    disk.verify()
    assert disk.read_all().tobytes() == copy.read_all().tobytes()

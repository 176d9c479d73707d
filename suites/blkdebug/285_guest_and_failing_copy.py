"""This case checks that a failing copy does not affect the guest, in either copy mode.

How: two mirrors, one in the background and one write-blocking, to a target that refuses all writes
to one place. The guest must write there and elsewhere without an error, and the job must end with
one.
Related: error-kills-connection, async-error-ignored, late-request-after-quiesce.
"""

from errno import EIO

from qbdcheck.kit import QmpFailed, case
from qbdcheck.kit.blkdebug import blkdebug, error
from qbdcheck.kit.expectations import expect_equal

SECTOR = 2000


@case(groups="inject errors job mirror export", basis="MUST: QAPI, BlockdevOnError")
def test(new_disk, qemu_io, storage_daemon):
    disk = new_disk("2M")
    for mode in ("background", "write-blocking"):
        copy = new_disk("2M")
        rule = error("none", EIO, iotype="write", sector=SECTOR)
        with storage_daemon() as qsd:
            qsd.add(disk.blockdev("source"))
            qsd.add(blkdebug(copy.protocol_blockdev(), rule, node_name="copy"))
            with qemu_io(qsd.export("source"), shadow=disk.shadow) as io:
                qsd.qmp("blockdev-mirror", job_id="job", device="source", target="copy",
                        sync="none", copy_mode=mode, auto_dismiss=False)  # fmt: skip
                qsd.wait_job("job", to="ready")
                io.write(4096, 8192)
                io.write(512 * SECTOR - 1000, 3000)
                event = qsd.wait_event("BLOCK_JOB_ERROR", device="job")["data"]
                expect_equal(event["operation"], "write", "BLOCK_JOB_ERROR: operation")
                io.write(512 * SECTOR - 3000, 5000)
                io.write(1 << 20, 8192)
                io.flush()
                try:
                    qsd.wait_job("job")
                except QmpFailed as failed:
                    expect_equal(failed.description, "Input/output error", "the end of the job")
                else:
                    raise AssertionError("the copy lacks data, but the job succeeded")
                io.read(512 * SECTOR - 8192, 16384)
        disk.verify()

"""This case checks that a job that an error has stopped can be cancelled, and started again.

How: mirror and backup meet an error in the target, stop, and are cancelled. The source must still
be in use, the target must be free, and a second job without the error must give an exact copy.
Guards: inflight-hang-on-disconnect.
Related: late-request-after-quiesce, resize-during-copy.
"""

from errno import ENOSPC

from qbdcheck.kit import case
from qbdcheck.kit.blkdebug import blkdebug, error
from qbdcheck.kit.block_job import finish_job
from qbdcheck.kit.expectations import expect_job_end


@case(groups="inject errors job mirror backup", basis="MUST: QAPI, BlockdevOnError")
def test(new_disk, qemu_io, storage_daemon):
    disk = new_disk("1M")
    for command in ("blockdev-mirror", "blockdev-backup"):
        copy = new_disk("1M")
        rule = error("none", ENOSPC, iotype="write", sector=1024, once=True)
        with storage_daemon() as qsd:
            qsd.add(disk.blockdev("source"))
            qsd.add(blkdebug(copy.protocol_blockdev(), rule, node_name="copy"))
            start = {"device": "source", "target": "copy", "sync": "full", "auto_dismiss": False,
                     "on_target_error": "stop"}  # fmt: skip
            with qemu_io(qsd.export("source"), shadow=disk.shadow) as io:
                qsd.qmp(command, job_id="first", **start)
                qsd.wait_event("BLOCK_JOB_ERROR", device="first")
                qsd.wait_job("first", to="paused")
                io.write(300_000, 5000)
                qsd.qmp("block-job-cancel", device="first", force=True)
                qsd.wait_event("BLOCK_JOB_CANCELLED", device="first")
                qsd.wait_event("JOB_STATUS_CHANGE", id="first", status="concluded")
                qsd.qmp("job-dismiss", id="first")
                io.write(600_000, 5000)
                qsd.qmp(command, job_id="job", **start)
                end = finish_job(qsd)
                expect_job_end(end, f"the second {command}", errors=[])
                io.flush()
        copy.shadow.write(0, disk.shadow.expected(0, disk.size))
        copy.verify()
        disk.verify()

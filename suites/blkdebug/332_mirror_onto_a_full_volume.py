"""This case checks that a mirror onto a volume that is full for some time continues, and is exact.

How: the backend of the target has no space during a phase. The mirror must stop with "nospace". The
phase ends, the job is resumed, and the copy must equal the source.
Guards: async-error-ignored, errno-collapsed.
Related: transient-becomes-fatal.
"""

from qbdcheck.kit import case
from qbdcheck.kit.block_job import finish_job
from qbdcheck.kit.expectations import expect_equal, expect_job_end


@case(groups="inject errors job mirror", requires="nbd", basis="MUST: QAPI, BlockdevOnError")
def test(disk, new_disk, storage_daemon, schedule):
    source = new_disk(disk.size)
    full = {"event": "write_aio", "errno": "ENOSPC", "iotype": "write", "sector": "4000-9000"}
    with storage_daemon() as qsd:
        qsd.add(source.blockdev("source"))
        qsd.add(disk.blockdev("copy"))
        with schedule.phase("full", full):
            qsd.qmp("blockdev-mirror", job_id="job", device="source", target="copy", sync="full",
                    on_target_error="stop", auto_dismiss=False)  # fmt: skip
            stopped = qsd.wait_event("BLOCK_JOB_ERROR", device="job")["data"]
            expect_equal(
                (stopped["operation"], stopped["action"]),
                ("write", "stop"),
                "BLOCK_JOB_ERROR: operation, action",
            )
        end = finish_job(qsd)
    expect_job_end(end, "mirror")
    assert "nospace" in end.stops, f"the job did not stop for ENOSPC: {end}"
    disk.shadow.write(0, source.shadow.expected(0, source.size))
    disk.verify()
    source.verify()

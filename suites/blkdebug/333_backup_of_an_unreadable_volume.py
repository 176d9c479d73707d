"""This case checks that a backup of a volume with bad sectors follows its error policy.

How: the backend fails reads of a range during a phase. report: the job must end with the error.
stop: it must wait, the range heals, and the copy must be exact. ignore: it must retry until the
range has healed.
Guards: async-error-ignored.
Related: transient-becomes-fatal, errno-collapsed.
"""

from qbdcheck.kit import case
from qbdcheck.kit.block_job import finish_job
from qbdcheck.kit.expectations import expect_equal, expect_job_end

BAD = {"event": "read_aio", "errno": "EIO", "iotype": "read", "sector": "5000-5100"}


@case(groups="inject errors job", requires="nbd", basis="MUST: QAPI, BlockdevOnError")
def test(disk, new_disk, storage_daemon, schedule):
    for policy in ("report", "stop", "ignore"):
        copy = new_disk(disk.size)
        with storage_daemon() as qsd:
            qsd.add(disk.blockdev("source"))
            qsd.add(copy.blockdev("copy"))
            with schedule.phase(policy, BAD):
                qsd.qmp("blockdev-backup", job_id="job", device="source", target="copy",
                        sync="full", on_source_error=policy, auto_dismiss=False)  # fmt: skip
                seen = qsd.wait_event("BLOCK_JOB_ERROR", device="job")["data"]
                how = seen["operation"], seen["action"]
                expect_equal(how, ("read", policy), "BLOCK_JOB_ERROR: operation, action")
            end = finish_job(qsd)
        data = disk.shadow.expected(0, disk.size)
        if policy == "report":
            expect_job_end(end, "backup with report", error="Input/output error")
            copy.shadow.maybe_write(0, data)
        else:
            expect_job_end(end, f"backup with {policy}")
            copy.shadow.write(0, data)
        copy.verify()
    disk.verify()

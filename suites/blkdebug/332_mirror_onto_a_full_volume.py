"""This case checks that a mirror onto a volume that is full for a while goes on, and is exact.

How: the backend of the target has no space during a phase; the mirror stops with "nospace", the
phase heals, the job is resumed, and the copy must be the source.
Guards: async-error-ignored, errno-collapsed, transient-becomes-fatal.
"""

from qbdcheck.kit import case
from qbdcheck.kit.block_job import finish_job


@case(groups="inject errors job mirror", requires="nbd")
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
            assert (stopped["operation"], stopped["action"]) == ("write", "stop"), stopped
        end = finish_job(qsd)
    assert not end.error, end
    assert "nospace" in end.stops, end
    disk.shadow.write(0, source.shadow.expected(0, source.size))
    disk.verify()
    source.verify()

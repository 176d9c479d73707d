"""This case checks that a paused job makes no progress, and a job waits for finalize and dismiss.

How: a throttled backup is paused while the disk is written to, resumed, ended, finalized and
dismissed by hand. Refused commands are in the golden. The copy must equal the disk at the start of
the job.
Related: late-request-after-quiesce, snapshot-not-point-in-time.
"""

from qbdcheck.kit import QmpFailed, case
from qbdcheck.kit.expectations import expect_equal

CHUNK = 64 << 10


@case(groups="job backup errors slow", basis="MUST: QAPI, JobStatus")
def test(disk, new_disk, qemu_io, storage_daemon, golden):
    copy = new_disk()
    frozen = disk.shadow.expected(0, disk.size)

    def report(qsd, command, **arguments):
        try:
            qsd.qmp(command, **arguments)
        except QmpFailed as error:
            golden(f"{command}: {error.description}")
        else:
            golden(f"{command}: done")

    with storage_daemon() as qsd:
        qsd.add(disk.blockdev("source"))
        qsd.add(copy.blockdev("copy"))
        with qemu_io(qsd.export("source"), shadow=disk.shadow) as io:
            qsd.qmp("blockdev-backup", job_id="job", device="source", target="copy", sync="full",
                    auto_dismiss=False, auto_finalize=False, speed=CHUNK,
                    x_perf={"max-workers": 1, "max-chunk": CHUNK})  # fmt: skip
            report(qsd, "job-pause", id="job")
            report(qsd, "job-pause", id="job")
            qsd.wait_job("job", to="paused")
            report(qsd, "job-finalize", id="job")
            report(qsd, "job-complete", id="job")
            report(qsd, "job-dismiss", id="job")
            for number in range(8):
                io.write((number << 20) + 333, 4096)
            expect_equal(
                qsd.qmp("query-jobs")[0]["status"], "paused", "the job's status while it is paused"
            )

            qsd.qmp("block-job-set-speed", device="job", speed=0)
            report(qsd, "job-resume", id="job")
            report(qsd, "job-resume", id="job")
            qsd.wait_job("job", to="pending")
            report(qsd, "blockdev-del", node_name="copy")
            report(qsd, "job-finalize", id="job")
            qsd.wait_job("job", dismiss=False)
            report(qsd, "job-cancel", id="job")
            report(qsd, "job-dismiss", id="job")
            expect_equal(qsd.qmp("query-jobs"), [], "the jobs after dismiss")
            report(qsd, "job-dismiss", id="job")
            io.flush()
        changes = [event["data"] for event in qsd.events if event["event"] == "JOB_STATUS_CHANGE"]
        golden(*[change["status"] for change in changes][-4:])
    copy.shadow.write(0, frozen)
    copy.verify()
    disk.verify()

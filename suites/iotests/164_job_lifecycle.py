"""This case checks that a paused job stands still, and jobs wait for finalize and dismiss as told.

How: a held-back backup is paused (no progress while the disk is written to), resumed, ended,
finalized and dismissed by hand; refused commands are in the golden; the copy is the frozen disk.
Guards: late-request-after-quiesce, snapshot-not-point-in-time.
"""

from qbdcheck.kit import QmpFailed, case

CHUNK = 64 << 10


@case(groups="job backup errors slow")
def test(disk, new_disk, qemu_io, storage_daemon, golden):
    copy = new_disk()
    frozen = disk.shadow.expected(0, disk.size)

    def told(qsd, command, **arguments):
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
            told(qsd, "job-pause", id="job")
            told(qsd, "job-pause", id="job")
            qsd.wait_job("job", to="paused")
            told(qsd, "job-finalize", id="job")
            told(qsd, "job-complete", id="job")
            told(qsd, "job-dismiss", id="job")
            for number in range(8):
                io.write((number << 20) + 333, 4096)
            assert qsd.qmp("query-jobs")[0]["status"] == "paused"

            qsd.qmp("block-job-set-speed", device="job", speed=0)
            told(qsd, "job-resume", id="job")
            told(qsd, "job-resume", id="job")
            qsd.wait_job("job", to="pending")
            told(qsd, "blockdev-del", node_name="copy")
            told(qsd, "job-finalize", id="job")
            qsd.wait_job("job", dismiss=False)
            told(qsd, "job-cancel", id="job")
            told(qsd, "job-dismiss", id="job")
            assert qsd.qmp("query-jobs") == []
            told(qsd, "job-dismiss", id="job")
            io.flush()
        changes = [event["data"] for event in qsd.events if event["event"] == "JOB_STATUS_CHANGE"]
        golden(*[change["status"] for change in changes][-4:])
    copy.shadow.write(0, frozen)
    copy.verify()
    disk.verify()

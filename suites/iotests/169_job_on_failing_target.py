"""This case checks that a job whose target fails reports it, harms no source, and can be resumed.

How: blkdebug above the copy fails a write once. With on-target-error=report the job must end with
that error. With stop it must wait, and after block-job-resume the copy must be exact. Writes run
throughout.
Guards: transient-becomes-fatal.
Related: async-error-ignored, errno-collapsed.
"""

from qbdcheck.kit import QmpFailed, case
from qbdcheck.kit.expectations import expect_equal

CHUNK = 64 << 10


@case(groups="job mirror backup errors export", basis="MUST: QAPI, BlockdevOnError")
def test(new_disk, qemu_io, storage_daemon):
    disk = new_disk("2M")
    copies = {name: new_disk("2M") for name in ("blockdev-mirror", "blockdev-backup")}
    for command, policy in (
        ("blockdev-mirror", "report"),
        ("blockdev-backup", "report"),
        ("blockdev-mirror", "stop"),
        ("blockdev-backup", "stop"),
    ):
        copy = copies[command]
        with storage_daemon() as qsd:
            qsd.add(disk.blockdev("source"))
            fault = {"event": "none", "iotype": "write", "errno": 28, "once": True, "sector": 2048}
            qsd.add({"driver": "blkdebug", "node-name": "copy", "image": copy.blockdev(),
                     "inject-error": [fault]})  # fmt: skip
            with qemu_io(qsd.export("source"), shadow=disk.shadow) as io:
                # The guest does not write to the failing place, so the job must reach it.
                frozen = disk.shadow.expected(0, disk.size)
                qsd.qmp(command, job_id="job", device="source", target="copy", sync="full",
                        on_target_error=policy, auto_dismiss=False)  # fmt: skip
                event = qsd.wait_event("BLOCK_JOB_ERROR", device="job")["data"]
                expect_equal(
                    (event["operation"], event["action"]),
                    ("write", policy),
                    f"{command}: operation, action",
                )
                io.write(CHUNK + 10, 1000)
                if policy == "report":
                    error = failure(qsd)
                    expect_equal(error, "No space left on device", f"{command}: the end of the job")
                else:
                    job = qsd.wait_job("job", to="paused")
                    expect_equal(job["status"], "paused", f"{command}: the job's status")
                    status = qsd.qmp("query-block-jobs")[0]["io-status"]
                    expect_equal(status, "nospace", f"{command}: the job's io-status")
                    qsd.qmp("block-job-resume", device="job")
                    if command == "blockdev-mirror":
                        qsd.wait_job("job", to="ready")
                        qsd.qmp("block-job-complete", device="job")
                    qsd.wait_job("job")
                io.flush()
        if policy == "stop":
            mirrored = command == "blockdev-mirror"
            data = disk.shadow.expected(0, disk.size) if mirrored else frozen
            copy.shadow.write(0, data)
            copy.verify()
    disk.verify()


def failure(qsd):
    """Return the error with which the job ends."""
    try:
        qsd.wait_job("job")
    except QmpFailed as error:
        return error.description
    return "none"

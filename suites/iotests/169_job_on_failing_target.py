"""This case checks that a job whose target fails says so, harms no source, and can still end right.

How: blkdebug above the copy fails a write once: with on-target-error=report the job ends with that
error, with stop it waits, and after block-job-resume the copy is exact. Writes go on throughout.
Guards: async-error-ignored, transient-becomes-fatal, errno-collapsed.
"""

from qbdcheck.kit import QmpFailed, case

CHUNK = 64 << 10


@case(groups="job mirror backup errors export")
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
                # The guest does not touch the failing place: the job must get there by itself.
                frozen = disk.shadow.expected(0, disk.size)
                qsd.qmp(command, job_id="job", device="source", target="copy", sync="full",
                        on_target_error=policy, auto_dismiss=False)  # fmt: skip
                event = qsd.wait_event("BLOCK_JOB_ERROR", device="job")["data"]
                assert (event["operation"], event["action"]) == ("write", policy), event
                io.write(CHUNK + 10, 1000)
                if policy == "report":
                    error = failure(qsd)
                    assert error == "No space left on device", error
                else:
                    job = qsd.wait_job("job", to="paused")
                    assert job["status"] == "paused", job
                    status = qsd.qmp("query-block-jobs")[0]["io-status"]
                    assert status == "nospace", status
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

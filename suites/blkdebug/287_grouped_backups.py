"""This case checks that in a group of backups, a failing one cancels the others.

How: two disks are backed up in a transaction with completion-mode grouped, and one target fails.
One job must end with its error, the other must be cancelled. A second attempt must give exact
copies.
Related: async-error-ignored, snapshot-not-point-in-time.
"""

from errno import EIO

from qbdcheck.kit import QmpFailed, case
from qbdcheck.kit.blkdebug import blkdebug, error
from qbdcheck.kit.expectations import expect_equal


@case(groups="inject errors job backup", basis="MUST: QAPI, ActionCompletionMode")
def test(new_disk, storage_daemon):
    disks, copies = [new_disk("1M") for _ in range(2)], [new_disk("1M") for _ in range(2)]
    rule = error("none", EIO, iotype="write", sector=5, once=True)
    with storage_daemon() as qsd:
        qsd.add(blkdebug(copies[0].protocol_blockdev(), rule, node_name="copy0"))
        qsd.add(blkdebug(copies[1].protocol_blockdev(), node_name="copy1"))
        for number, disk in enumerate(disks):
            qsd.add(disk.blockdev(f"disk{number}"))
        for attempt in ("fails", "succeeds"):
            actions = [
                {"type": "blockdev-backup",
                 "data": {"job-id": f"job{number}", "device": f"disk{number}", "sync": "full",
                          "target": f"copy{number}", "auto-dismiss": False,
                          # throttle the good one, or it might end before the other fails
                          "speed": 65536 if number and attempt == "fails" else 0}}
                for number in range(2)
            ]  # fmt: skip
            qsd.qmp("transaction", actions=actions, properties={"completion-mode": "grouped"})
            ended = [end_of(qsd, f"job{number}") for number in range(2)]
            if attempt == "fails":
                expect_equal(
                    ended[0], "Input/output error", "the end of the job whose target fails"
                )
                assert ended[1] != "", "the job whose partner failed succeeded"
            else:
                expect_equal(ended, ["", ""], "the ends of both jobs in the second attempt")
    for disk, copy in zip(disks, copies, strict=True):
        copy.shadow.write(0, disk.shadow.expected(0, disk.size))
        copy.verify()
        disk.verify()


def end_of(qsd, job_id):
    """Return the error with which a job ends, empty on success."""
    try:
        qsd.wait_job(job_id)
    except QmpFailed as failed:
        return failed.description
    return ""

"""This case checks that of backups grouped in a transaction a failing one takes the others with it.

How: two disks backed up with completion-mode grouped; one target fails for good. Both jobs end, the
one by its error, the other cancelled; the sources are in use throughout; a second try is exact.
Guards: async-error-ignored, snapshot-not-point-in-time.
"""

from errno import EIO

from qbdcheck.kit import QmpFailed, case
from qbdcheck.kit.blkdebug import blkdebug, error


@case(groups="inject errors job backup")
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
                          # the good one is held back, or it might end before the other fails
                          "speed": 65536 if number and attempt == "fails" else 0}}
                for number in range(2)
            ]  # fmt: skip
            qsd.qmp("transaction", actions=actions, properties={"completion-mode": "grouped"})
            ended = [end_of(qsd, f"job{number}") for number in range(2)]
            if attempt == "fails":
                assert ended[0] == "Input/output error", ended
                assert ended[1] != "", "its partner failed, and it ended well"
            else:
                assert ended == ["", ""], ended
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

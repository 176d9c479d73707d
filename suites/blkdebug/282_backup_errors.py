"""This case checks that a backup whose source or target fails follows its error policies.

How: a read of the source and a write to the copy fail once each, for each policy, with EIO and with
ENOSPC. If the job succeeds the copy must be exact.
Guards: transient-becomes-fatal.
Related: missing-object-zero-fill, async-error-ignored, errno-collapsed.
"""

from errno import EIO, ENOSPC

from qbdcheck.kit import case
from qbdcheck.kit.blkdebug import blkdebug, error
from qbdcheck.kit.block_job import finish_job
from qbdcheck.kit.expectations import expect_equal, expect_job_end

ACTIONS = {
    ("report", EIO): "report",
    ("stop", EIO): "stop",
    ("ignore", EIO): "ignore",
    ("enospc", EIO): "report",
    ("enospc", ENOSPC): "stop",
    ("report", ENOSPC): "report",
}


@case(groups="inject errors job backup", basis="MUST: QAPI, BlockdevOnError")
def test(new_disk, storage_daemon):
    disk, copy = new_disk("1M"), new_disk("1M")
    data = disk.shadow.expected(0, disk.size)
    for (policy, number), action in ACTIONS.items():
        read, write = (
            error(number=number, iotype=kind, sector=sector, once=True)
            for kind, sector in (("read", 300), ("write", 1100))
        )
        with storage_daemon() as qsd:
            qsd.add(blkdebug(disk.protocol_blockdev(), read, node_name="source"))
            qsd.add(blkdebug(copy.protocol_blockdev(), write, node_name="copy"))
            qsd.qmp("blockdev-backup", job_id="job", device="source", target="copy", sync="full",
                    on_source_error=policy, on_target_error=policy, auto_dismiss=False,
                    x_perf={"max-workers": 1, "max-chunk": 65536})  # fmt: skip
            end = finish_job(qsd)
        text = {EIO: "Input/output error", ENOSPC: "No space left on device"}[number]
        operations = ["read"] if action == "report" else ["read", "write"]
        expect_job_end(
            end,
            f"backup with {policy}, {text}",
            error=text if action == "report" else "",
            errors=[(one, action) for one in operations],
        )
        expect_equal(
            len(end.stops),
            2 if action == "stop" else 0,
            f"backup with {policy}, {text}: the number of stops",
        )
        if end.error:
            copy.shadow.maybe_write(0, data)
        else:
            copy.shadow.write(0, data)
        copy.verify()
    disk.verify()

"""This case checks that a job whose target cannot be flushed does not report its copy as complete.

How: mirror and commit onto a target all of whose flushes fail. The job must end with the error, and
the disk in use must stay right.
Guards: close-error-lost.
Related: flush-error-swallowed.
"""

from errno import EIO

from qbdcheck.kit import case
from qbdcheck.kit.blkdebug import blkdebug, error
from qbdcheck.kit.block_job import finish_job
from qbdcheck.kit.blockdev import over
from qbdcheck.kit.expectations import expect_job_end


@case(
    groups="inject errors job mirror commit flush",
    basis=("MUST: QAPI, blockdev-mirror", "MUST: fsync(2), ERRORS"),
)
def test(new_disk, qemu_io, storage_daemon):
    for command in ("blockdev-mirror", "block-commit"):
        base, top = new_disk("512k"), new_disk("512k", prefill=False, format="qcow2")
        copy = new_disk("512k")
        flushes = error(number=EIO, iotype="flush")
        committing = command == "block-commit"
        with storage_daemon() as qsd:
            rules = [flushes] if committing else []
            qsd.add(blkdebug(base.protocol_blockdev(), *rules, node_name="base"))
            rules = [] if committing else [flushes]
            qsd.add(blkdebug(copy.protocol_blockdev(), *rules, node_name="copy"))
            qsd.add({**over("qcow2", top.protocol_blockdev(), "top"), "backing": "base"})
            with qemu_io(qsd.export("top"), shadow=base.shadow) as io:
                io.write(100_000, 50_000)
                where = {"base_node": "base"} if committing else {"target": "copy", "sync": "full"}
                qsd.qmp(command, job_id="job", device="top", auto_dismiss=False, **where)
                end = finish_job(qsd)
                expect_job_end(end, command, error="Input/output error")
                io.read(90_000, 70_000)
                io.write(300_000, 5000)
                io.read(290_000, 20_000)

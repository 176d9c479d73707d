"""This case checks that a commit that meets errors loses no data of the disk.

How: an overlay in use is committed into its base. A write to the base fails, or a read of the
overlay. After report the chain must still have all data. After stop and resume the base must have
it.
Guards: transient-becomes-fatal.
Related: async-error-ignored, clone-copyup-lost.
"""

from errno import ENOSPC
from itertools import product

from qbdcheck.kit import case
from qbdcheck.kit.blkdebug import blkdebug, error
from qbdcheck.kit.block_job import finish_job
from qbdcheck.kit.blockdev import over
from qbdcheck.kit.expectations import expect_job_end


@case(groups="inject errors job commit backing", basis="MUST: QAPI, BlockdevOnError")
def test(new_disk, qemu_io, storage_daemon):
    for policy, kind in product(("report", "stop"), ("write", "read")):
        base, top = new_disk("1M"), new_disk("1M", prefill=False, format="qcow2")
        writes = [error("none", ENOSPC, iotype="write", sector=900, once=True)]
        reads = [error("read_aio", ENOSPC, iotype="read", once=True)]
        below = blkdebug(top.protocol_blockdev(), *(reads if kind == "read" else []))
        target = blkdebug(base.protocol_blockdev(), *(writes if kind == "write" else []))
        with storage_daemon() as qsd:
            qsd.add({**target, "node-name": "base"})
            qsd.add({**over("qcow2", below, "top"), "backing": "base"})
            with qemu_io(qsd.export("top"), shadow=base.shadow) as io:
                io.write(100_000, 50_000)
                io.write(400_000, 100_000)
                io.write_zeroes(700_000, 70_000)
                qsd.qmp("block-commit", job_id="job", device="top", base_node="base",
                        on_error=policy, auto_dismiss=False)  # fmt: skip
                end = finish_job(qsd)
                expect_job_end(
                    end,
                    f"commit with {policy}, {kind} error",
                    errors=[(kind, policy)],
                    error="No space left on device" if policy == "report" else "",
                    stops=["nospace"] * (policy == "stop"),
                )
                io.read(400_000, 80_000)
        if not end.error:
            base.verify()

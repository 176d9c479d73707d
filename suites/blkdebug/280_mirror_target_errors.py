"""This case checks that a mirror whose target fails follows its error policy, and its copy is
exact.

How: three writes to the target fail (EIO, ENOSPC, EIO). report ends the job with the error, stop
waits for each, ignore retries, and enospc stops only for ENOSPC. If the job succeeds the copy must
equal the source.
Guards: transient-becomes-fatal.
Related: async-error-ignored, errno-collapsed.
"""

from errno import EIO, ENOSPC

from qbdcheck.kit import case
from qbdcheck.kit.blkdebug import blkdebug, error
from qbdcheck.kit.block_job import finish_job
from qbdcheck.kit.expectations import expect_job_end

POLICIES = {
    "report": ("Input/output error", [], ["report"]),
    "stop": ("", ["failed", "nospace", "failed"], ["stop"] * 3),
    "ignore": ("", [], ["ignore"] * 3),
    "enospc": ("Input/output error", [], ["report"]),
}


@case(groups="inject errors job mirror", basis="MUST: QAPI, BlockdevOnError")
def test(new_disk, storage_daemon):
    disk, copy = new_disk("2M"), new_disk("2M")
    for policy, (message, stops, actions) in POLICIES.items():
        rules = [
            error(number=number, iotype="write", sector=sector, once=True)
            for sector, number in ((100, EIO), (1500, ENOSPC), (3000, EIO))
        ]
        with storage_daemon() as qsd:
            qsd.add(disk.blockdev("source"))
            qsd.add(blkdebug(copy.protocol_blockdev(), *rules, node_name="copy"))
            qsd.qmp("blockdev-mirror", job_id="job", device="source", target="copy", sync="full",
                    granularity=65536, buf_size=65536, on_target_error=policy,
                    auto_dismiss=False)  # fmt: skip
            end = finish_job(qsd)
        expect_job_end(
            end,
            f"mirror with {policy}",
            error=message,
            stops=stops,
            errors=[("write", action) for action in actions],
        )
        if not message:
            copy.shadow.write(0, disk.shadow.expected(0, disk.size))
            copy.verify()
        else:
            copy.shadow.maybe_write(0, disk.shadow.expected(0, disk.size))
    disk.verify()

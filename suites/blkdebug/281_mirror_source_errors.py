"""This case checks that a mirror whose source cannot be read follows its error policy.

How: two reads of the source fail once each. report ends the job, stop waits and reads again, and
ignore reads again at once. A copy that is reported complete must be exact, never zeroes.
Guards: transient-becomes-fatal.
Related: missing-object-zero-fill, async-error-ignored.
"""

from errno import EIO

from qbdcheck.kit import case
from qbdcheck.kit.blkdebug import blkdebug, error
from qbdcheck.kit.block_job import finish_job
from qbdcheck.kit.expectations import expect_job_end

POLICIES = {
    "report": ("Input/output error", [], ["report"]),
    "enospc": ("Input/output error", [], ["report"]),
    "stop": ("", ["failed", "failed"], ["stop"] * 2),
    "ignore": ("", [], ["ignore"] * 2),
}


@case(groups="inject errors job mirror", basis="MUST: QAPI, BlockdevOnError")
def test(new_disk, storage_daemon):
    disk, copy = new_disk("2M"), new_disk("2M")
    for policy, (message, stops, actions) in POLICIES.items():
        rules = [
            error(number=EIO, iotype="read", sector=sector, once=True) for sector in (130, 2900)
        ]
        with storage_daemon() as qsd:
            qsd.add(blkdebug(disk.protocol_blockdev(), *rules, node_name="source"))
            qsd.add(copy.blockdev("copy"))
            qsd.qmp("blockdev-mirror", job_id="job", device="source", target="copy", sync="full",
                    granularity=65536, buf_size=65536, on_source_error=policy,
                    auto_dismiss=False)  # fmt: skip
            end = finish_job(qsd)
        expect_job_end(
            end,
            f"mirror with {policy}",
            error=message,
            stops=stops,
            errors=[("read", action) for action in actions],
        )
        data = disk.shadow.expected(0, disk.size)
        if message:
            copy.shadow.maybe_write(0, data)
        else:
            copy.shadow.write(0, data)
        copy.verify()
    disk.verify()

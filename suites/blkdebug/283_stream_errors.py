"""This case checks that a stream whose backing file cannot be read follows its error policy.

How: a backing image on one volume, an overlay on another. One read of the backing data fails. After
report and ignore the backing file is still in use and all data must be right. After stop and resume
the overlay must have all data without the backing file.
Related: missing-object-zero-fill, async-error-ignored, discard-exposes-backing.
"""

from errno import EIO

from qbdcheck.kit import case
from qbdcheck.kit.blkdebug import blkdebug, error
from qbdcheck.kit.block_job import finish_job
from qbdcheck.kit.blockdev import over
from qbdcheck.kit.expectations import expect_equal


@case(groups="inject errors job stream backing", basis="MUST: QAPI, BlockdevOnError")
def test(new_disk, qemu_io, storage_daemon):
    base = new_disk("1M")
    for policy in ("report", "ignore", "stop"):
        top = new_disk("1M", prefill=False, format="qcow2")
        rule = error("none", EIO, iotype="read", sector=700, once=True)
        with storage_daemon() as qsd:
            qsd.add(blkdebug(base.protocol_blockdev(), rule, node_name="base"))
            image = {**over("qcow2", top.protocol_blockdev(), "top"), "backing": "base"}
            qsd.add(image)
            uri = qsd.export("top")
            qsd.qmp("block-stream", job_id="job", device="top", on_error=policy,
                    auto_dismiss=False)  # fmt: skip
            end = finish_job(qsd)
            expect_equal(end.errors[0], ("read", policy), f"stream with {policy}: the first error")
            expect_equal(
                len(end.stops), policy == "stop", f"stream with {policy}: the number of stops"
            )
            assert bool(end.error) == (policy != "stop"), (
                f"stream with {policy}: the job ended with '{end.error}'"
            )
            with qemu_io(uri, shadow=base.shadow, read_only=True) as io:
                io.read(700 * 512 - 40_000, 80_000)
        if policy == "stop":
            top.shadow.write(0, base.shadow.expected(0, base.size))
            top.verify()
    base.verify()

"""This case checks that jobs and images keep to the limits of the nodes below them.

How: mirror, backup and a qcow2 image on blkdebug with large blocks and short transfers, which
aborts on a request that breaks them. All copies must be exact.
Guards: unaligned-offset-rounded.
Related: rebuild-granularity-mismatch, iov-offset-ignored.
"""

from qbdcheck.kit import case
from qbdcheck.kit.blkdebug import blkdebug
from qbdcheck.kit.block_job import finish_job
from qbdcheck.kit.blockdev import over
from qbdcheck.kit.expectations import expect_job_end

LIMITS = {"align": 4096, "max_transfer": 20480, "opt_write_zero": 8192, "max_write_zero": 40960,
          "opt_discard": 8192, "max_discard": 40960}  # fmt: skip


@case(groups="inject job mirror backup blocksize", basis="MUST: QAPI, BlockdevOptionsBlkdebug")
def test(new_disk, qemu_io, storage_daemon, target):
    size = (1 << 20) * target.scale
    limits = {name: value * target.scale for name, value in LIMITS.items()}
    disk = new_disk(size)
    for command, kind in (("blockdev-mirror", "raw"), ("blockdev-backup", "qcow2")):
        copy = new_disk(size, prefill=False, format=kind)
        with storage_daemon() as qsd:
            qsd.add(blkdebug(disk.protocol_blockdev(), node_name="source", **limits))
            qsd.add(over(kind, blkdebug(copy.protocol_blockdev(), **limits), "copy"))
            with qemu_io(qsd.export("source"), shadow=disk.shadow) as io:
                io.write(1000, 70_000)
                io.write_zeroes(300_001, 50_000)
                io.discard(500_000, 50_000)
                io.read(290_000, 70_000)
            qsd.qmp(command, job_id="job", device="source", target="copy", sync="full",
                    auto_dismiss=False)  # fmt: skip
            end = finish_job(qsd)
            expect_job_end(end, command, errors=[])
        disk.verify()
        copy.shadow.write(0, disk.shadow.expected(0, disk.size))
        copy.verify()

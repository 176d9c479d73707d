"""This case checks that a mirror copies the last partial chunk of a disk of any size.

How: sizes one sector less or more than chunks, granularities of 64 KiB and 1 MiB. Data is written
into the last sector while the job runs, and again when it is ready.
Guards: last-block-overrun, size-rounded-down.
Related: sparse-tail-dropped, rebuild-granularity-mismatch.
"""

from qbdcheck.kit import case
from qbdcheck.kit.volume_limits import size_unit

CHUNK = 64 << 10


@case(groups="job mirror size", basis="MUST: QAPI, blockdev-mirror")
def test(new_disk, qemu_io, storage_daemon, target):
    unit = size_unit(target)
    for size, granularity in (
        (4 * CHUNK - unit, CHUNK),
        (16 * CHUNK + unit, 1 << 20),
    ):
        disk, copy = new_disk(size), new_disk(size)
        with storage_daemon() as qsd:
            qsd.add(disk.blockdev("source"))
            qsd.add(copy.blockdev("copy"))
            with qemu_io(qsd.export("source"), shadow=disk.shadow) as io:
                qsd.qmp("blockdev-mirror", job_id="mirror", device="source", target="copy",
                        sync="full", auto_dismiss=False, granularity=granularity)  # fmt: skip
                io.write(size - 512, 512)
                qsd.wait_job("mirror", to="ready")
                io.write(size - 100, 100)
                io.write(0, 13)
                qsd.qmp("block-job-complete", device="mirror")
                qsd.wait_job("mirror")
                io.flush()
        copy.shadow = disk.shadow
        copy.verify()

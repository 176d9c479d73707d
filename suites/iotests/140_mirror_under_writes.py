"""This case checks that a mirror taken under writes equals the disk, and the pivot loses no write.

How: the mirror is throttled at its start while writes through an NBD export go to copied and
uncopied parts. More writes are in flight while it runs, and again while it is completed. The job's
progress must show that they came in time. The target's old data must be gone.
Guards: phantom-write.
Related: late-request-after-quiesce, false-zero-init, rebuild-granularity-mismatch.
"""

from qbdcheck.kit import case
from qbdcheck.kit.expectations import expect_same

CHUNK = 64 << 10


@case(groups="job mirror export concurrent", basis="MUST: QAPI, blockdev-mirror")
def test(disk, new_disk, qemu_io, storage_daemon):
    copy = new_disk()
    with storage_daemon() as qsd:
        qsd.add(disk.blockdev("source"))
        qsd.add(copy.blockdev("copy"))
        with qemu_io(qsd.export("source"), shadow=disk.shadow) as io:
            qsd.qmp("blockdev-mirror", job_id="mirror", device="source", target="copy", sync="full",
                    auto_dismiss=False, granularity=CHUNK, buf_size=CHUNK, speed=CHUNK)  # fmt: skip
            for number in range(8):
                io.write(number * (1 << 20) + 1000, 5000)
            held = qsd.qmp("query-block-jobs")[0]
            assert held["status"] == "running" and held["offset"] < disk.size // 2, (
                f"the mirror is not held back: {held}"
            )

            in_flight(io, at=300 << 10)
            qsd.qmp("block-job-set-speed", device="mirror", speed=0)
            qsd.wait_job("mirror", to="ready")
            io.drain()
            in_flight(io, at=600 << 10)
            qsd.qmp("block-job-complete", device="mirror")
            io.drain()
            done = qsd.wait_job("mirror")
            assert done["total-progress"] > disk.size, f"no write came during the job: {done}"

            at_pivot = disk.shadow.expected(0, disk.size)
            io.write(2 << 20, 1 << 20)
            io.flush()
    copy.shadow = disk.shadow
    copy.verify()
    expect_same(disk.read_all().tobytes(), at_pivot, "the old source after the pivot")


def in_flight(io, at):
    """Start eight writes of 40 KiB, one in each MiB."""
    for number in range(8):
        io.aio_write(number * (1 << 20) + at, 40 << 10)

"""This case checks that a mirror taken under writes is the disk, and the pivot loses none of them.

How: the mirror is held back at its start while writes through an NBD export fall on copied and on
uncopied parts; more are in flight while it runs, and again while it is completed. The job's own
progress must show that they came in time. The old target's data must be gone.
Guards: late-request-after-quiesce, false-zero-init, rebuild-granularity-mismatch, phantom-write.
"""

from qbdcheck.kit import case

CHUNK = 64 << 10


@case(groups="job mirror export concurrent")
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
            assert held["status"] == "running" and held["offset"] < disk.size // 2, held

            in_flight(io, at=300 << 10)
            qsd.qmp("block-job-set-speed", device="mirror", speed=0)
            qsd.wait_job("mirror", to="ready")
            io.drain()
            in_flight(io, at=600 << 10)
            qsd.qmp("block-job-complete", device="mirror")
            io.drain()
            done = qsd.wait_job("mirror")
            assert done["total-progress"] > disk.size, f"nothing was written during the job: {done}"

            at_pivot = disk.shadow.expected(0, disk.size)
            io.write(2 << 20, 1 << 20)
            io.flush()
    copy.shadow = disk.shadow
    copy.verify()
    assert disk.read_all().tobytes() == at_pivot, "the old source changed after the pivot"


def in_flight(io, at):
    """Start eight writes of 40 KiB, one in each MiB."""
    for number in range(8):
        io.aio_write(number * (1 << 20) + at, 40 << 10)

"""This case checks that two jobs at once on different disks confuse neither data nor completion.

How: a mirror and a backup, both throttled. Both sources are written to through exports while both
jobs run. One is completed while the other continues. Each copy is compared with its own source.
Related: wrong-volume-or-lun, cross-connection-state, split-pool-deadlock.
"""

from qbdcheck.kit import case
from qbdcheck.kit.expectations import expect_equal

CHUNK = 64 << 10


@case(groups="job mirror backup concurrent export", basis="MUST: QAPI, blockdev-mirror")
def test(new_disk, qemu_io, storage_daemon):
    one, two, copy1, copy2 = (new_disk("2M") for _ in range(4))
    frozen = two.shadow.expected(0, two.size)
    with storage_daemon() as qsd:
        for name, disk in (("one", one), ("two", two), ("copy1", copy1), ("copy2", copy2)):
            qsd.add(disk.blockdev(name))
        io1 = qemu_io(qsd.export("one"), shadow=one.shadow)
        io2 = qemu_io(qsd.export("two"), shadow=two.shadow)
        with io1, io2:
            slow = {"sync": "full", "speed": CHUNK, "auto_dismiss": False}
            qsd.qmp("blockdev-mirror", job_id="m", device="one", target="copy1", granularity=CHUNK,
                    buf_size=CHUNK, **slow)  # fmt: skip
            qsd.qmp("blockdev-backup", job_id="b", device="two", target="copy2",
                    x_perf={"max-workers": 1, "max-chunk": CHUNK}, **slow)  # fmt: skip
            for number in range(8):
                for io in (io1, io2):
                    io.write(number * (256 << 10) + 1000, 3000)
                    io.aio_write(number * (256 << 10) + 2 * CHUNK, 3000)
            running = {job["device"]: job for job in qsd.qmp("query-block-jobs")}
            expect_equal(set(running), {"m", "b"}, "the running jobs")
            assert all(job["offset"] < job["len"] for job in running.values()), (
                f"a job is not held back: {running}"
            )
            qsd.qmp("block-job-set-speed", device="m", speed=0)
            qsd.wait_job("m", to="ready")
            qsd.qmp("block-job-complete", device="m")
            io1.drain()
            qsd.wait_job("m")
            qsd.qmp("block-job-set-speed", device="b", speed=0)
            io2.drain()
            qsd.wait_job("b")
            io1.flush()
            io2.flush()
    copy1.shadow = one.shadow
    copy1.verify()
    copy2.shadow.write(0, frozen)
    copy2.verify()
    two.verify()

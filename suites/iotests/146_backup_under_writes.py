"""This case checks that a full backup equals the disk at its start, despite later writes.

How: the job is throttled at its start. Stamps, zeroes and discards through an export then go to
parts that it has not reached. The copy must contain the old contents, the disk the new ones.
Related: snapshot-not-point-in-time, discard-not-tracked, snapshot-map-under-io, clone-copyup-lost.
"""

from qbdcheck.kit import case

CHUNK = 64 << 10


@case(groups="job backup export concurrent discard", basis="MUST: QAPI, blockdev-backup")
def test(disk, new_disk, qemu_io, storage_daemon):
    copy = new_disk()
    with storage_daemon() as qsd:
        qsd.add(disk.blockdev("source", discard="unmap"))
        qsd.add(copy.blockdev("copy"))
        with qemu_io(qsd.export("source"), shadow=disk.shadow) as io:
            io.write(7 << 20, 1 << 20)
            frozen = disk.shadow.expected(0, disk.size)
            qsd.qmp("blockdev-backup", job_id="backup", device="source", target="copy", sync="full",
                    auto_dismiss=False, speed=CHUNK,
                    x_perf={"max-workers": 1, "max-chunk": CHUNK})  # fmt: skip
            for offset in (8 << 10, (3 << 20) - 1000, (7 << 20) + 3 * CHUNK):
                io.write(offset, 5000)
            io.write_zeroes(4 << 20, 100_000)
            io.discard(5 << 20, 4 * CHUNK)
            for number in range(16):
                io.aio_write((6 << 20) + number * CHUNK, 7000)
            held = qsd.qmp("query-block-jobs")[0]
            assert held["status"] == "running" and held["offset"] < disk.size // 2, (
                f"the backup is not held back: {held}"
            )
            qsd.qmp("block-job-set-speed", device="backup", speed=0)
            io.drain()
            qsd.wait_job("backup")
            io.flush()
    copy.shadow.write(0, frozen)
    copy.verify()
    disk.verify()

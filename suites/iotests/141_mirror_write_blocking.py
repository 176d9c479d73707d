"""This case checks that a write-blocking mirror puts every acknowledged write on both disks at
once.

How: writes through an export go far beyond the position of the throttled copy. The daemon is
killed: source and copy must both contain them. A second mirror is completed with writes in flight.
Guards: phantom-write.
Related: rebuild-granularity-mismatch, late-request-after-quiesce.
"""

from qbdcheck.kit import case

CHUNK = 64 << 10
OFFSETS = (5 << 20, 6 << 20, (7 << 20) - CHUNK)


@case(groups="job mirror export concurrent", basis="MUST: QAPI, MirrorCopyMode")
def test(disk, new_disk, qemu_io, storage_daemon):
    copy = new_disk()
    for killed in (True, False):
        with storage_daemon() as qsd:
            qsd.add(disk.blockdev("source"))
            qsd.add(copy.blockdev("copy"))
            io = qemu_io(qsd.export("source"), shadow=disk.shadow)
            qsd.qmp("blockdev-mirror", job_id="mirror", device="source", target="copy", sync="full",
                    auto_dismiss=False, granularity=CHUNK, buf_size=CHUNK, speed=CHUNK,
                    copy_mode="write-blocking")  # fmt: skip
            qsd.wait_progress("mirror")  # while it prepares, QEMU 11 notes writes for later
            for offset in OFFSETS:
                io.write(offset, CHUNK)
            io.write_zeroes(4 << 20, CHUNK)
            held = qsd.qmp("query-block-jobs")[0]
            assert held["status"] == "running" and held["offset"] < 1 << 20, (
                f"the mirror is not held back: {held}"
            )
            if killed:
                qsd.kill()
                io.abandon()
                compare_after_kill(disk, copy)
                continue
            qsd.qmp("block-job-set-speed", device="mirror", speed=0)
            qsd.wait_job("mirror", to="ready")
            for number in range(16):
                io.aio_write(number * (300 << 10) + 77, 9000)
            qsd.qmp("block-job-complete", device="mirror")
            io.drain()
            qsd.wait_job("mirror")
            io.flush()
            io.close()
    copy.shadow = disk.shadow
    copy.verify()


def compare_after_kill(disk, copy):
    """Compare both disks after the daemon was killed: whole chunks must be on both."""
    disk.verify()
    for offset in (4 << 20, *OFFSETS):
        copy.shadow.write(offset, disk.shadow.expected(offset, CHUNK))
        copy.verify(offset, CHUNK)

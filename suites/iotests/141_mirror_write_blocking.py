"""This case checks that a write-blocking mirror has every acknowledged write on both disks at once.

How: with copy-mode write-blocking, what is written through an export while the mirror is held back
is compared on source and copy at once, far beyond where the background copy is; then it goes to its
end.
Guards: phantom-write, rebuild-granularity-mismatch, late-request-after-quiesce.
"""

from qbdcheck import case

CHUNK = 64 << 10
OFFSETS = (5 << 20, (6 << 20) + 512, (7 << 20) + 4096 + 17)


@case(groups="job mirror export quick")
def test(disk, new_disk, qemu_io, storage_daemon):
    copy = new_disk()
    with storage_daemon() as qsd:
        qsd.add(disk.blockdev("source"))
        qsd.add(copy.blockdev("copy"))
        with qemu_io(qsd.export("source"), shadow=disk.shadow) as io:
            qsd.qmp("blockdev-mirror", job_id="mirror", device="source", target="copy", sync="full",
                    auto_dismiss=False, granularity=CHUNK, buf_size=CHUNK, speed=CHUNK,
                    copy_mode="write-blocking")  # fmt: skip
            for offset in OFFSETS:
                io.write(offset, CHUNK)
            io.write_zeroes(4 << 20, CHUNK)
            held = qsd.qmp("query-block-jobs")[0]
            assert held["status"] == "running" and held["offset"] < 1 << 20, held
            with qemu_io(copy, read_only=True) as other:
                # Only whole chunks are copied at once; of others the dirty rest comes later.
                got = other("read -P 0 4M 64k") + other("read -v 5M 64k")
                assert "verification failed" not in got, "zeroes are not on the copy"
                copy.shadow.zero(4 << 20, CHUNK)
                copy.shadow.write(OFFSETS[0], disk.shadow.expected(OFFSETS[0], CHUNK))
                other.read(4 << 20, CHUNK)
                other.read(OFFSETS[0], CHUNK)

            qsd.qmp("block-job-set-speed", device="mirror", speed=0)
            qsd.wait_job("mirror", to="ready")
            for number in range(16):
                io.aio_write(number * (300 << 10) + 77, 9000)
            qsd.qmp("block-job-complete", device="mirror")
            io.drain()
            qsd.wait_job("mirror")
            io.flush()
    copy.shadow = disk.shadow
    copy.verify()

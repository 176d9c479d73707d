"""This case checks that a cancelled mirror keeps the source in use, and a complete copy only if
ready.

How: one mirror is cancelled in the middle, one by force when it is ready, and one without force
when it is ready, with writes before it. Each time the export must continue with the source.
Only the last leaves an exact copy.
Related: late-request-after-quiesce, wrong-volume-or-lun.
"""

from qbdcheck.kit import case

CHUNK = 64 << 10


@case(groups="job mirror export", basis="MUST: QAPI, blockdev-mirror")
def test(disk, new_disk, qemu_io, storage_daemon):
    copy = new_disk()
    with storage_daemon() as qsd:
        qsd.add(disk.blockdev("source"))
        qsd.add(copy.blockdev("copy"))
        with qemu_io(qsd.export("source"), shadow=disk.shadow) as io:
            for speed, force in ((CHUNK, False), (0, True), (0, False)):
                qsd.qmp("blockdev-mirror", job_id="mirror", device="source", target="copy",
                        sync="full", granularity=CHUNK, buf_size=CHUNK, speed=speed)  # fmt: skip
                if not speed:
                    qsd.wait_event("BLOCK_JOB_READY", device="mirror")
                for number in range(4):
                    io.aio_write(number * (2 << 20) + 12345, 30000)
                qsd.qmp("block-job-cancel", device="mirror", force=force)
                io.drain()
                # QEMU reports a ready mirror that is cancelled without force as completed.
                soft = not speed and not force
                event = "BLOCK_JOB_COMPLETED" if soft else "BLOCK_JOB_CANCELLED"
                ended = qsd.wait_event(event, device="mirror")["data"]
                assert (ended["offset"] < ended["len"]) == bool(speed), (
                    f"speed {speed}: the mirror ended at {ended['offset']} of {ended['len']}"
                )
                qsd.wait_event("JOB_STATUS_CHANGE", id="mirror", status="null")
                if soft:
                    copy.shadow.write(0, disk.shadow.expected(0, disk.size))
                io.write(4 << 20, 4096)
            copy.verify()
    disk.verify()

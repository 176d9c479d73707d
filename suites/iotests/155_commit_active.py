"""This case checks that a commit of the active layer loses no write, and the export moves to the
disk.

How: an overlay in a file over the disk is written through an export before, during and after the
commit, with requests in flight. At its end the export must write to the disk itself.
Related: late-request-after-quiesce, clone-copyup-lost, discard-exposes-backing.
"""

from qbdcheck.kit import case

CHUNK = 64 << 10


@case(groups="job commit backing export concurrent quick", basis="MUST: QAPI, block-commit")
def test(disk, qemu_io, qemu_img, storage_daemon, scratch):
    qemu_img("create", "-q", "-f", "qcow2", scratch / "top", str(disk.size))
    with storage_daemon() as qsd:
        qsd.add(disk.blockdev("base"))
        qsd.add({"driver": "qcow2", "node-name": "top", "backing": "base",
                 "file": {"driver": "file", "filename": str(scratch / "top")}})  # fmt: skip
        with qemu_io(qsd.export("top"), shadow=disk.shadow) as io:
            for number in range(8):
                io.write((number << 20) + 1000, 5000)
            io.write(2 << 20, 1 << 20)
            io.write_zeroes((5 << 20) - CHUNK, 3 * CHUNK, unmap=True)
            qsd.qmp("block-commit", job_id="commit", device="top", auto_dismiss=False, speed=CHUNK)
            for number in range(8):
                io.write((number << 20) + 2000, 70_000)
                io.aio_write((number << 20) + (512 << 10), 30_000)
            held = qsd.qmp("query-block-jobs")[0]
            assert held["status"] in ("running", "ready"), (
                f"the commit is neither running nor ready: {held}"
            )
            qsd.qmp("block-job-set-speed", device="commit", speed=0)
            io.drain()
            qsd.wait_job("commit", to="ready")
            for number in range(8):
                io.aio_write((number << 20) + (700 << 10), 30_000)
            qsd.qmp("block-job-complete", device="commit")
            io.drain()
            qsd.wait_job("commit")
            io.write(7 << 20, CHUNK)
            io.flush()
        users = [node["node-name"] for node in qsd.qmp("query-named-block-nodes", flat=True)]
        assert "base" in users, f"the base is not in use after the commit: {users}"
    disk.verify()

"""This case checks that copies of the top layer, and of new writes, contain nothing else.

How: an overlay over the disk. sync=top (mirror and backup) gives a copy that reads like the source
with the same backing, and contains nothing of the backing. sync=none contains only what was written
during the job.
Guards: false-zero-init.
Related: clone-copyup-lost, wrong-volume-or-lun.
"""

from qbdcheck.kit import case
from qbdcheck.kit.expectations import expect_same

CHUNK = 64 << 10


def overlay(qemu_img, path, size):
    qemu_img("create", "-q", "-f", "qcow2", path, str(size))
    return {"driver": "qcow2", "file": {"driver": "file", "filename": str(path)}}


@case(groups="job mirror backing", basis="MUST: QAPI, blockdev-mirror")
def test(disk, new_disk, qemu_io, qemu_img, storage_daemon, scratch):
    copy = new_disk(prefill=False)
    before = disk.shadow.expected(0, disk.size)
    top = overlay(qemu_img, scratch / "top.qcow2", disk.size)
    with storage_daemon() as qsd:
        qsd.add(disk.blockdev("base", read_only=True))
        qsd.add(copy.blockdev("copy"))
        qsd.add({**top, "node-name": "top", "backing": "base"})
        with qemu_io(qsd.export("top"), shadow=disk.shadow) as io:
            io.write(CHUNK + 100, 5000)
            io.write(5 << 20, 2 * CHUNK)
            io.write_zeroes(6 << 20, CHUNK)
            for sync in ("top", "none", "backup"):
                job = {"job-id": sync, "device": "top", "target": "copy", "auto-dismiss": False}
                if sync == "backup":
                    qsd.qmp("blockdev-backup", sync="top", **job)
                else:
                    qsd.qmp("blockdev-mirror", sync=sync, granularity=CHUNK, **job)
                    io.write(3 << 20, CHUNK)
                    qsd.wait_job(sync, to="ready")
                    io.write((3 << 20) + CHUNK, CHUNK)
                    qsd.qmp("block-job-cancel", device=sync)
                qsd.wait_job(sync)
                expect(copy, disk, sync)
                qsd.qmp("blockdev-del", node_name="copy")
                copy.verify()
                copy = new_disk(prefill=False)
                qsd.add(copy.blockdev("copy"))
    expect_same(disk.read_all().tobytes(), before, "the backing after the jobs")


def expect(copy, disk, sync):
    """Update the shadow of the copy with the clusters that a job of that kind copies."""
    ranges = [(3 << 20, 2 * CHUNK)]
    if sync != "none":
        ranges += [(CHUNK, CHUNK), (5 << 20, 2 * CHUNK), (6 << 20, CHUNK)]
    for offset, length in ranges:
        copy.shadow.write(offset, disk.shadow.expected(offset, length))

"""This case checks that streaming a disk into an overlay makes the overlay independent of the disk.

How: once the whole chain is streamed, and once only down to a base. Writes during the job must not
be undone by what is streamed. Afterwards the overlay alone, without the disk, must read the same.
Related: clone-copyup-lost, late-request-after-quiesce, status-hole-over-dirty.
"""

from copy import deepcopy

from qbdcheck.kit import case, judge
from qbdcheck.kit.blockdev import json_filename
from qbdcheck.kit.expectations import expect_same

CHUNK = 64 << 10


@case(groups="job stream backing export concurrent reading", basis="MUST: QAPI, block-stream")
def test(new_disk, qemu_io, qemu_img, storage_daemon, scratch):
    disk = new_disk("4M")
    before = disk.shadow.expected(0, disk.size)
    for to_base in (False, True):
        shadow = deepcopy(disk.shadow)
        for name in ("middle", "top"):
            qemu_img("create", "-q", "-f", "qcow2", scratch / name, str(disk.size))
        with storage_daemon() as qsd:
            qsd.add(disk.blockdev("base", read_only=True))
            for name, below in (("middle", "base"), ("top", "middle")):
                file = {"driver": "file", "filename": str(scratch / name)}
                qsd.add({"driver": "qcow2", "node-name": name, "file": file, "backing": below})
                with qemu_io(qsd.export(name), shadow=shadow) as io:
                    io.write(1 << 20, CHUNK + 100)
                    io.write_zeroes(3 << 20, CHUNK)
                    io.flush()
                exported = qsd.qmp("query-block-exports")[0]["id"]
                qsd.qmp("block-export-del", id=exported, mode="hard")
                qsd.wait_event("BLOCK_EXPORT_DELETED", id=exported)
            with qemu_io(qsd.export("top", "again"), shadow=shadow) as io:
                base = {"base_node": "base"} if to_base else {"speed": CHUNK}
                qsd.qmp("block-stream", job_id="stream", device="top", auto_dismiss=False,
                        **base)  # fmt: skip
                for number in range(3):
                    io.write((number << 20) + 77, 5000)
                    io.aio_write((number << 20) + 9 * CHUNK, 5000)
                if not to_base:
                    held = qsd.qmp("query-block-jobs")[0]
                    assert held["status"] == "running" and held["offset"] < 1 << 20, (
                        f"the stream is not held back: {held}"
                    )
                    qsd.qmp("block-job-set-speed", device="stream", speed=0)
                io.drain()
                qsd.wait_job("stream")
                io.read((1 << 20) - CHUNK, 3 * CHUNK)
                io.flush()
        # Without the disk below, what was not streamed would read as zeroes.
        file = {"driver": "file", "filename": str(scratch / "top")}
        qemu_img("rebase", "-q", "-u", "-f", "qcow2", "-b", "", scratch / "top")
        alone = {"driver": "qcow2", "file": file, "backing": disk.blockdev() if to_base else None}
        qemu_img("dd", "-O", "raw", "bs=2M", f"if={json_filename(alone)}", f"of={scratch / 'all'}")
        judge(shadow, 0, (scratch / "all").read_bytes(), "the overlay alone")
    expect_same(disk.read_all().tobytes(), before, "the backing after the streams")

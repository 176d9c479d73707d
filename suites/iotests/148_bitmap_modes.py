"""This case checks that a bitmap names what is not backed up, in each mode, also after a cancel.

How: on-success, always and never. For each mode one job ends and one is cancelled half-way, with
writes while it runs. One more job must then complete the copy by the bitmap alone.
Related: incremental-misses-hole, snapshot-map-under-io.
"""

from qbdcheck.kit import case
from qbdcheck.kit.expectations import expect_equal

CHUNK = 64 << 10
DIRTY = 32


def count(qsd):
    """Return how many chunks are dirty in the bitmap."""
    nodes = qsd.qmp("query-named-block-nodes", flat=True)
    node = next(node for node in nodes if node["node-name"] == "source")
    return node["dirty-bitmaps"][0]["count"] // CHUNK


@case(groups="job backup bitmap", basis="MUST: QAPI, BitmapSyncMode")
def test(disk, new_disk, qemu_io, storage_daemon):
    copy = new_disk()
    copy.shadow = disk.shadow
    with storage_daemon() as qsd:
        qsd.add(disk.blockdev("source"))
        qsd.add(copy.blockdev("copy"))
        backup = {"job-id": "b", "device": "source", "target": "copy", "auto-dismiss": False}
        qsd.qmp("blockdev-backup", sync="full", **backup)
        qsd.wait_job("b")
        copy.verify()
        qsd.qmp("block-dirty-bitmap-add", node="source", name="bitmap", granularity=CHUNK)
        with qemu_io(qsd.export("source"), shadow=disk.shadow) as io:
            for mode, left_after, left_cancelled in (
                ("on-success", 1, (DIRTY + 1,)),
                ("always", 1, range(2, DIRTY + 1)),
                ("never", DIRTY + 1, (DIRTY + 1,)),
            ):
                for cancelled in (False, True):
                    qsd.qmp("block-dirty-bitmap-clear", node="source", name="bitmap")
                    io.write(2 << 20, DIRTY * CHUNK)
                    expect_equal(count(qsd), DIRTY, "dirty chunks before the backup")
                    qsd.qmp("blockdev-backup", sync="bitmap", bitmap="bitmap", bitmap_mode=mode,
                            speed=CHUNK if cancelled else 0,
                            x_perf={"max-workers": 1, "max-chunk": CHUNK}, **backup)  # fmt: skip
                    io.write((6 << 20) + 1, 1)
                    if cancelled:
                        qsd.qmp("block-job-cancel", device="b")
                        qsd.wait_event("BLOCK_JOB_CANCELLED", device="b")
                        qsd.qmp("job-dismiss", id="b")
                        left = count(qsd)
                        wrong = f"{mode}, cancel: {left} dirty chunks, not {left_cancelled}"
                        assert left in left_cancelled, wrong
                    else:
                        qsd.wait_job("b")
                        expect_equal(count(qsd), left_after, f"{mode}: dirty chunks after the job")
                    qsd.qmp("blockdev-backup", sync="incremental", bitmap="bitmap", **backup)
                    qsd.wait_job("b")
                    copy.verify()

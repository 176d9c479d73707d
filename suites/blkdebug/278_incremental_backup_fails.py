"""This case checks that a failed incremental backup keeps all that is dirty in the bitmap.

How: a bitmap, writes, an incremental backup that meets an error in target or source, more writes,
and a second backup without errors onto a full copy, which must then equal the disk. With
bitmap-mode on-success all bits must stay, with always those that were not copied.
Guards: transient-becomes-fatal.
Related: incremental-misses-hole, async-error-ignored.
"""

from errno import EIO

from qbdcheck.kit import case
from qbdcheck.kit.blkdebug import blkdebug, error
from qbdcheck.kit.block_job import finish_job
from qbdcheck.kit.expectations import expect_equal

CHUNK = 64 << 10


@case(groups="inject errors job backup bitmap", basis="MUST: QEMU, interop/bitmaps")
def test(new_disk, qemu_io, qemu_img, storage_daemon):
    for mode, side in (("on-success", "target"), ("always", "target"), ("always", "source")):
        disk, copy = new_disk("1M"), new_disk("1M")
        read, write = (
            [error(number=EIO, iotype=kind, sector=1200, once=True)] if side == where else []
            for kind, where in (("read", "source"), ("write", "target"))
        )
        qemu_img("convert", "-n", "-O", "raw", disk.filename, copy.filename)
        with storage_daemon() as qsd:
            qsd.add(blkdebug(disk.protocol_blockdev(), *read, node_name="disk"))
            qsd.add(copy.blockdev("copy"))
            qsd.add(blkdebug("copy", *write, node_name="faulty"))
            qsd.qmp("block-dirty-bitmap-add", node="disk", name="b0", granularity=CHUNK)
            with qemu_io(qsd.export("disk"), shadow=disk.shadow) as io:
                for at in (1000, 300_000, 1200 * 512, 900_000):
                    io.write(at, 5000)
                end = backup(qsd, mode, target="faulty")
                expect_equal(
                    end.error,
                    "Input/output error",
                    f"{mode}, error in the {side}: the end of the job",
                )
                io.write(450_000, 5000)
                end = backup(qsd, mode, target="copy")
                expect_equal(end.error, "", f"{mode}: the end of the second job")
                nodes = qsd.qmp("query-named-block-nodes", flat=True)
                left = [one["dirty-bitmaps"][0]["count"] for one in nodes if "dirty-bitmaps" in one]
                expect_equal(left, [0], f"{mode}: the dirty bytes that are left")
        disk.verify()
        copy.shadow.write(0, disk.shadow.expected(0, disk.size))
        copy.verify()


def backup(qsd, mode, target):
    """Run an incremental backup to its end."""
    qsd.qmp("blockdev-backup", job_id="job", device="disk", target=target, sync="bitmap",
            bitmap="b0", bitmap_mode=mode, auto_dismiss=False,
            x_perf={"max-workers": 1, "max-chunk": CHUNK})  # fmt: skip
    return finish_job(qsd)

"""This case checks that QEMU reads a snapshot's frozen data while the volume changes.

How: with the volume and its snapshot open in one storage daemon, a mirror copies the snapshot to
another volume while a client writes the volume. Then a sparse copy by block status, and one of
every byte. All three must be the volume as it was, and its map must not call data zero.
Guards: status-hole-over-dirty.
Related: snapshot-not-point-in-time, snapshot-map-under-io.
"""

from oracles.shadow import Shadow
from qbdcheck.kit import case

KIB, SIZE = 1 << 10, 4 << 20


@case(
    groups="snapshot mirror convert concurrent",
    requires="nbd snapshot_read",
    basis="POLICY: snapshot-is-one-moment",
)
def test(new_disk, qemu_io, qemu_img, nbd_io, storage_daemon, scratch):
    disk = new_disk(SIZE, prefill=False)
    with qemu_io(disk) as io:
        for at in range(0, 4096, 256):
            io.write(at * KIB, 100 * KIB)
        io.flush()
    snapshot = disk.snapshot("base")
    copy = scratch / "copy.raw"
    qemu_img("create", "-q", "-f", "raw", copy, str(SIZE))
    with storage_daemon() as qsd:
        qsd.add(disk.blockdev("volume"))
        qsd.add({**snapshot.blockdev("frozen"), "read-only": True})
        qsd.add({"driver": "raw", "node-name": "copy",
                 "file": {"driver": "file", "filename": str(copy)}})  # fmt: skip
        uri = qsd.export("volume", name="volume")
        qsd.qmp("blockdev-mirror", job_id="job", device="frozen", target="copy", sync="full",
                auto_dismiss=False, speed=40 << 20, granularity=64 * KIB)  # fmt: skip
        with nbd_io(uri, disk.shadow) as io:
            for at in range(4096 - 8, -1, -24):
                io.write(at * KIB, 8 * KIB)
        qsd.wait_job("job", to="ready")
        qsd.qmp("block-job-complete", device="job")
        qsd.wait_job("job")
    sparse = scratch / "sparse.raw"
    qemu_img("convert", "-O", "raw", snapshot.filename, sparse)
    for file in (copy, sparse):
        snapshot.judge(0, file.read_bytes())
    empty = Shadow(SIZE).expected(0, 64 * KIB)
    for extent in qemu_img.json("map", snapshot.filename):
        if extent["zero"]:
            start, length = extent["start"], min(extent["length"], 64 * KIB)
            snapshot.judge(start, empty[:length])
    snapshot.verify()
    disk.verify()

"""This case checks that persistent bitmaps of an image on the target survive restarts exactly.

How: a qcow2 image with two persistent bitmaps, one of them disabled, is written to, closed, opened
by another daemon, and written to again. An incremental backup must then complete the copy.
Guards: map-entry-shifted.
Related: incremental-misses-hole, close-drops-dirty.
"""

from qbdcheck.kit import case
from qbdcheck.kit.expectations import expect_equal

CHUNK = 64 << 10


def bitmaps(qemu_img, disk):
    """Return name, granularity and flags of the bitmaps in the image."""
    found = qemu_img.json("info", disk.filename)["format-specific"]["data"]["bitmaps"]
    return sorted((entry["name"], entry["granularity"], tuple(entry["flags"])) for entry in found)


@case(groups="job backup bitmap qcow2 format", basis="MUST: QEMU, interop/bitmaps")
def test(new_disk, qemu_io, qemu_img, storage_daemon):
    disk, copy = new_disk("4M", format="qcow2"), new_disk("4M")
    copy.shadow = disk.shadow
    backup = {"job-id": "b", "device": "source", "target": "copy", "auto-dismiss": False}
    with storage_daemon() as qsd:
        qsd.add(disk.blockdev("source"))
        qsd.add(copy.blockdev("copy"))
        for name, options in (("daily", {}), ("off", {"disabled": True, "granularity": 4096})):
            qsd.qmp("block-dirty-bitmap-add", node="source", name=name, persistent=True, **options)
        with qemu_io(qsd.export("source"), shadow=disk.shadow) as io:
            qsd.qmp("blockdev-backup", sync="full", **backup)
            io.write(1 << 20, 3 * CHUNK)
        qsd.wait_job("b")
    expect_equal(
        bitmaps(qemu_img, disk),
        [("daily", CHUNK, ("auto",)), ("off", 4096, ())],
        "the bitmaps in the image",
    )

    with storage_daemon() as qsd:
        qsd.add(disk.blockdev("source"))
        qsd.add(copy.blockdev("copy"))
        with qemu_io(qsd.export("source"), shadow=disk.shadow) as io:
            io.write(2 << 20, 2 * CHUNK)
            io.write_zeroes((4 << 20) - CHUNK, CHUNK)
        seen = next(
            node["dirty-bitmaps"]
            for node in qsd.qmp("query-named-block-nodes", flat=True)
            if node["node-name"] == "source"
        )
        counts = {bitmap["name"]: (bitmap["count"], bitmap["recording"]) for bitmap in seen}
        expect_equal(
            counts,
            {"daily": (6 * CHUNK, True), "off": (0, False)},
            "dirty bytes and recording of each bitmap",
        )
        qsd.qmp("blockdev-backup", sync="incremental", bitmap="daily", **backup)
        qsd.wait_job("b")
    copy.verify()
    disk.verify()
    qemu_img("check", disk.filename)

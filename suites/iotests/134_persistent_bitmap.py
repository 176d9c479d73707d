"""This case checks that a persistent bitmap outlives its writers and records all that was written.

How: an image has a bitmap. It is opened several times, one after the other, and written, zeroed and
discarded. Then the bitmap is exported over NBD. It must cover every change, and only that.
Guards: close-error-lost.
Related: incremental-misses-hole, discard-not-tracked.
"""

from qbdcheck.kit import case
from qbdcheck.kit.blockdev import json_filename, nbd_node, over
from qbdcheck.kit.expectations import expect_equal

KIB, MIB = 1 << 10, 1 << 20
GRANULE = 64 * KIB
CHANGES = (("write", 70 * KIB, 5), ("zero", 300 * KIB, 64 * KIB), ("discard", 640 * KIB, 64 * KIB),
           ("write", 2 * MIB - 512, 512))  # fmt: skip


@case(groups="format bitmap qcow2 quick", basis="MUST: QEMU, interop/qcow2")
def test(new_disk, qemu_io, qemu_img, storage_daemon):
    disk = new_disk("2M", format="qcow2")
    qemu_img("bitmap", "--add", "-g", str(GRANULE), disk.filename, "changes")
    for what, offset, length in CHANGES:
        with qemu_io(disk) as io:
            change = {"write": io.write, "zero": io.write_zeroes, "discard": io.discard}[what]
            change(offset, length)
    wanted = granules((offset, length) for _, offset, length in CHANGES)
    with storage_daemon() as qsd:
        image = qsd.add(disk.blockdev("image"))
        named = [one for one in qsd.qmp("query-named-block-nodes") if one["node-name"] == image]
        bitmap = next(one for one in named[0]["dirty-bitmaps"] if one["name"] == "changes")
        assert bitmap["persistent"], "the bitmap is not persistent"
        assert bitmap["recording"], "the bitmap does not record"
        assert not bitmap.get("inconsistent"), "the bitmap is inconsistent"
        uri = qsd.export(image, name="image", bitmaps=["changes"])
        socket = uri.partition("socket=")[2]
        dirty = nbd_node(socket, "image", x_dirty_bitmap="qemu:dirty-bitmap:changes")
        extents = qemu_img.json("map", json_filename(over("raw", dirty)))
    # QEMU reports dirty extents as extents without data.
    found = [(one["start"], one["length"]) for one in extents if not one["data"]]
    expect_equal(granules(found), wanted, "the dirty granules")
    expect_equal(bitmap["count"], len(wanted) * GRANULE, "the number of dirty bytes")
    disk.verify()


def granules(ranges):
    """Return the numbers of the granules that ranges (offset, length) overlap."""
    ends = [(offset // GRANULE, (offset + length - 1) // GRANULE) for offset, length in ranges]
    return {granule for first, last in ends for granule in range(first, last + 1)}

"""This case checks that bitmaps are merged, cleared, disabled and enabled exactly, at any
granularity.

How: three bitmaps record different writes. The golden contains their counts after each command. The
merged one then drives a backup, after which the copy must equal the disk.
Related: incremental-misses-hole, alloc-map-rounding-reads-zero.
"""

from qbdcheck.kit import case

KIB64 = 64 << 10


def counts(qsd):
    """Return the bitmaps of the disk and the number of dirty bytes in each."""
    nodes = qsd.qmp("query-named-block-nodes", flat=True)
    node = next(node for node in nodes if node["node-name"] == "source")
    return {
        bitmap["name"]: f"{bitmap['count']}{'' if bitmap['recording'] else ' off'}"
        for bitmap in sorted(node["dirty-bitmaps"], key=lambda bitmap: bitmap["name"])
    }


@case(groups="bitmap backup job", basis="MUST: QEMU, interop/bitmaps")
def test(disk, new_disk, qemu_io, storage_daemon, golden):
    copy = new_disk()
    copy.shadow = disk.shadow
    backup = {"job-id": "b", "device": "source", "target": "copy", "auto-dismiss": False}
    with storage_daemon() as qsd:
        qsd.add(disk.blockdev("source"))
        qsd.add(copy.blockdev("copy"))
        bitmap = {"node": "source"}
        for name, granularity in (("a", 512), ("b", KIB64), ("c", KIB64)):
            qsd.qmp("block-dirty-bitmap-add", name=name, granularity=granularity, **bitmap)
        with qemu_io(qsd.export("source"), shadow=disk.shadow) as io:
            qsd.qmp("blockdev-backup", sync="full", **backup)
            qsd.wait_job("b")
            golden("new", counts(qsd))
            io.write(0, 513)
            golden("513 bytes", counts(qsd))
            qsd.qmp("block-dirty-bitmap-disable", name="b", **bitmap)
            io.write((3 << 20) - 1, 2)
            golden("2 bytes across 3 MiB, b off", counts(qsd))
            qsd.qmp("block-dirty-bitmap-enable", name="b", **bitmap)
            qsd.qmp("block-dirty-bitmap-clear", name="c", **bitmap)
            io.write_zeroes(disk.size - KIB64, KIB64)
            golden("64 KiB of zeroes, b on, c cleared before", counts(qsd))
            qsd.qmp("block-dirty-bitmap-merge", target="c", bitmaps=["a", "b"], **bitmap)
            golden("a and b merged into c", counts(qsd))
            qsd.qmp("block-dirty-bitmap-remove", name="a", **bitmap)
            qsd.qmp("blockdev-backup", sync="incremental", bitmap="c", **backup)
            golden("copied", qsd.wait_job("b")["total-progress"])
            golden("after the backup", counts(qsd))
    copy.verify()
    disk.verify()

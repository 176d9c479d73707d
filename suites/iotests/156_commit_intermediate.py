"""This case checks that a commit of middle layers changes the disk, and nothing that the guest
sees.

How: the disk is the base of two middle layers and a top. The middle layers are committed into the
base while the top is written to. The guest must read the same data, and the disk must contain base
and middle without the top.
Related: clone-copyup-lost, wrong-volume-or-lun, discard-exposes-backing.
"""

from copy import deepcopy

from qbdcheck.kit import case

CHUNK = 64 << 10


@case(groups="job commit backing export", basis="MUST: QAPI, block-commit")
def test(disk, qemu_io, qemu_img, storage_daemon, scratch):
    def layer(name, backing):
        qemu_img("create", "-q", "-f", "qcow2", scratch / name, str(disk.size))
        file = {"driver": "file", "filename": str(scratch / name)}
        qsd.add({"driver": "qcow2", "node-name": name, "file": file, "backing": backing})

    guest = deepcopy(disk.shadow)
    with storage_daemon() as qsd:
        qsd.add(disk.blockdev("base"))
        below = "base"
        for name, start in (("middle1", 1 << 20), ("middle2", 2 << 20)):
            layer(name, below)
            with qemu_io(qsd.export(name), shadow=disk.shadow) as io:
                io.write(start - 500, 1000)
                io.write_zeroes(start + CHUNK, CHUNK)
                io.flush()
            removed(qsd)
            below = name
        guest = deepcopy(disk.shadow)
        layer("top", below)
        with qemu_io(qsd.export("top"), shadow=guest) as io:
            io.write(2 << 20, 100_000)
            qsd.qmp("block-commit", job_id="c", device="top", top_node="middle2", base_node="base",
                    auto_dismiss=False)  # fmt: skip
            io.write((1 << 20) - 100, 50_000)
            qsd.wait_job("c")
            for start in (0, 1 << 20, 2 << 20, 3 << 20):
                io.read(start, 4 * CHUNK)
            io.flush()
        for name in ("middle2", "middle1"):  # refused while they are in the chain
            qsd.qmp("blockdev-del", node_name=name)
    disk.verify()


def removed(qsd):
    """Remove all exports, and wait until they are gone."""
    for export in qsd.qmp("query-block-exports"):
        qsd.qmp("block-export-del", id=export["id"], mode="hard")
        qsd.wait_event("BLOCK_EXPORT_DELETED", id=export["id"])

"""This case checks that an image created through QMP is empty, of the right size, and usable.

How: blockdev-create makes qcow2 images on the prefilled volume: a plain one, one with a data file
on a second volume, and one of small clusters. Each must read as zeroes first, and then contain what
is written. The golden contains the refusals.
Related: false-zero-init, previous-tenant-data, size-rounded-down.
"""

from oracles.shadow import Shadow
from qbdcheck.kit import QmpFailed, case

SIZE = 512 << 10


@case(groups="job qcow2 format", basis="MUST: QAPI, blockdev-create")
def test(disk, new_disk, qemu_io, storage_daemon, golden):
    data = new_disk()
    with storage_daemon() as qsd:
        qsd.add(disk.protocol_blockdev("file"))
        qsd.add(data.protocol_blockdev("data"))

        def create(**options):
            job = {"job-id": "create", "options": {"driver": "qcow2", "file": "file", **options}}
            qsd.execute("blockdev-create", job)
            try:
                qsd.wait_job("create")
            except QmpFailed as error:
                return error.description
            return ""

        def refused(**options):
            why = create(**options)
            golden(f"{options}: {why}")
            return why

        for number, options in enumerate(
            ({}, {"data-file": "data"}, {"cluster-size": 4096, "lazy-refcounts": True})
        ):
            why = create(size=SIZE, **options)
            assert not why, f"creation of qcow2 with {options} failed: {why}"
            opened = {"data-file": "data"} if "data-file" in options else {}
            qsd.add({"driver": "qcow2", "node-name": "image", "file": "file", **opened})
            shadow = Shadow(SIZE)
            uri = qsd.export("image", f"image{number}")
            with qemu_io(uri, shadow=shadow) as io:
                io.read(0, SIZE)
                io.write(1000, 100_000)
                io.read(0, SIZE)
                io.flush()
            qsd.qmp("block-export-del", id=f"export{number + 1}", mode="hard")
            qsd.wait_event("BLOCK_EXPORT_DELETED", id=f"export{number + 1}")
            qsd.qmp("blockdev-del", node_name="image")
        assert refused(size=SIZE + 1), "a size that is no multiple of 512 was accepted"
        assert refused(size=SIZE, **{"cluster-size": 1000}), "a cluster size of 1000 was accepted"
        assert refused(size=SIZE, version="v2", **{"lazy-refcounts": True}), (
            "lazy refcounts in version 2 were accepted"
        )
        assert refused(size=SIZE, **{"data-file-raw": True}), (
            "data-file-raw without a data file was accepted"
        )

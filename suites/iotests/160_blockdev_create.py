"""This case checks that an image created through QMP is empty, of the right size, and usable.

How: qcow2 images by blockdev-create over the prefilled volume: fresh, with an external data file on
a second volume, of small clusters; each reads as zeroes first, then holds what is written.
Refusals: golden.
Guards: false-zero-init, previous-tenant-data, size-rounded-down.
"""

from oracles.shadow import Shadow
from qbdcheck.kit import QmpFailed, case

SIZE = 512 << 10


@case(groups="job qcow2 format")
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
                golden(f"{options}: {error.description}")
                return False
            return True

        for number, options in enumerate(
            ({}, {"data-file": "data"}, {"cluster-size": 4096, "lazy-refcounts": True})
        ):
            assert create(size=SIZE, **options)
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
        assert not create(size=SIZE + 1)
        assert not create(size=SIZE, **{"cluster-size": 1000})
        assert not create(size=SIZE, version="v2", **{"lazy-refcounts": True})
        assert not create(size=SIZE, **{"data-file-raw": True})

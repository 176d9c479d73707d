"""This case checks that a disk resized through QMP has the new size, and zeroes in the new space.

How: block_resize of a qcow2 image is refused while a client's export relies on the size, and done
between exports. New clients must see the new size, zeroes over old data, and no byte beyond the
end.
Related: resize-not-notified, grow-exposes-old-data, resize-false-success, oob-past-end.
"""

from qbdcheck.kit import IoFailed, QmpFailed, case
from qbdcheck.kit.expectations import expect_size

SIZES = (3 << 20, (3 << 20) + 512, 1 << 20, 4 << 20)


@case(groups="size export qcow2 format", basis="MUST: QAPI, block_resize")
def test(new_disk, qemu_io, qemu_img, storage_daemon):
    disk = new_disk("2M", format="qcow2")
    with storage_daemon() as qsd:
        qsd.add(disk.blockdev("source"))
        for number, size in enumerate((*SIZES, None)):
            uri = qsd.export("source", f"at{number}")
            expect_size(qemu_img, uri, disk.size)
            with qemu_io(uri, shadow=disk.shadow) as io:
                io.write(disk.size - 4096, 4096)
                io.write(4096, 1000)
                io.read(disk.size - (64 << 10), 64 << 10)
                assert refused(io.request, f"write {disk.size - 256} 512"), (
                    f"a write of 512 bytes at {disk.size - 256} succeeded"
                )
                assert refused(qsd.qmp, "block_resize", node_name="source", size=6 << 20), (
                    "block_resize under an export succeeded"
                )
                io.read(0, 64 << 10)
                io.flush()
            exported = qsd.qmp("query-block-exports")[0]["id"]
            qsd.qmp("block-export-del", id=exported, mode="hard")
            qsd.wait_event("BLOCK_EXPORT_DELETED", id=exported)
            if size is not None:
                qsd.qmp("block_resize", node_name="source", size=size)
                disk.shadow.resize(size)
    disk.verify()


def refused(command, *positional, **arguments):
    """Return whether a command is refused."""
    try:
        command(*positional, **arguments)
    except (IoFailed, QmpFailed):
        return True
    return False

"""This case checks that a point in time over an image can be read and mapped by many at once.

How: an image is under copy-before-write: one on the target with a backing volume, and a file with
preallocated metadata. The snapshot-access export is mapped, and several clients read the same
blocks in flight together, while the guest overwrites them. The point in time never changes, its map
calls no data zero, and the daemon lives.
Related: snapshot-not-point-in-time, snapshot-map-under-io, status-hole-over-dirty.
"""

from copy import deepcopy

from oracles.shadow import Shadow
from qbdcheck.kit import case
from qbdcheck.kit.blockdev import json_filename
from qbdcheck.kit.expectations import expect_equal

KIB64, SIZE = 64 << 10, 1 << 20
READERS = 3


@case(
    groups="snapshot export status concurrent qcow2",
    basis=("MUST: QAPI, BlockdevOptionsCbw", "MUST: NBD, NBD_CMD_BLOCK_STATUS"),
)
def test(new_disk, qemu_io, qemu_img, storage_daemon, scratch):
    base, disk = new_disk(SIZE), new_disk(SIZE, prefill=False, format="qcow2")
    backing = ("-F", "raw", "-b", base.filename)
    qemu_img("create", "-q", "-f", "qcow2", *backing, disk.backend.filename, str(SIZE))
    disk.shadow.write(0, base.shadow.expected(0, SIZE))
    # QEMU looks for preallocated metadata in files only.
    qemu_img("create", "-q", "-f", "qcow2", "-o", "preallocation=metadata", scratch / "image",
             str(SIZE))  # fmt: skip
    image = {"driver": "qcow2", "node-name": "source",
             "file": {"driver": "file", "filename": str(scratch / "image")}}  # fmt: skip
    for blockdev, shadow in ((disk.blockdev("source"), disk.shadow), (image, Shadow(SIZE))):
        saved = new_disk(SIZE)
        with qemu_io(json_filename(blockdev), shadow=shadow) as io:
            io.write(2 * KIB64 + 5, KIB64)
            io.write_zeroes(6 * KIB64, 2 * KIB64)
        frozen = deepcopy(shadow)
        with storage_daemon() as qsd:
            qsd.add(blockdev)
            qsd.add(saved.blockdev("saved"))
            qsd.add({"driver": "copy-before-write", "node-name": "guest", "file": "source",
                     "target": "saved"})  # fmt: skip
            qsd.add({"driver": "snapshot-access", "node-name": "past", "file": "guest"})
            past = qsd.export("past", writable=False)
            expect_true_map(qemu_img, past, frozen)
            guest = qemu_io(qsd.export("guest"), shadow=shadow)
            readers = [qemu_io(past, shadow=frozen, read_only=True) for _ in range(READERS)]
            with guest, readers[0], readers[1], readers[2]:
                read_while_written(readers, guest)
                expect_true_map(qemu_img, past, frozen)
                for reader in readers:
                    reader.read(0, SIZE)
                guest.flush()
    disk.verify()


def read_while_written(readers, guest):
    """Read blocks of the past by several clients at once, while the guest writes them."""
    for number in range(0, 16, 2):
        for reader in readers:
            reader.aio_read(number * KIB64, 2 * KIB64)
            reader.aio_read(number * KIB64 + 512, KIB64)
        guest.aio_write(number * KIB64 + 1000, KIB64 + 9)
        for reader in readers:
            expect_equal(len(reader.drain()), 2, "the number of completed reads of the past")
        guest.drain()


def expect_true_map(qemu_img, uri, shadow):
    """Check that the map covers everything once, and calls only zeroes zero."""
    position = 0
    for extent in qemu_img.json("map", "-f", "raw", uri):
        start, length = extent["start"], extent["length"]
        expect_equal(start, position, "the start of an extent of the map")
        assert not extent["zero"] or not any(shadow.expected(start, length)), (
            f"the map of the past calls data zero: offset {start}, length {length}"
        )
        position = start + length
    expect_equal(position, shadow.size, "the end of the map")

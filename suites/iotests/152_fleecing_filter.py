"""This case checks that a point in time stays readable through copy-before-write under writes.

How: the filter saves old data to a second volume. A snapshot-access export is read while stamps are
written over every part, sub-cluster and straddling, with reads in between and at the end.
Related: snapshot-not-point-in-time, clone-copyup-lost, snapshot-map-under-io, misdirected-write.
"""

from copy import deepcopy

from qbdcheck.kit import case
from qbdcheck.kit.expectations import expect_equal

KIB64 = 64 << 10


@case(groups="snapshot export concurrent", basis="MUST: QAPI, BlockdevOptionsCbw")
def test(new_disk, qemu_io, storage_daemon):
    disk, saved = new_disk("1M"), new_disk("1M")
    frozen = deepcopy(disk.shadow)
    with storage_daemon() as qsd:
        qsd.add(disk.blockdev("source"))
        qsd.add(saved.blockdev("saved"))
        qsd.add({"driver": "copy-before-write", "node-name": "guest", "file": "source",
                 "target": "saved"})  # fmt: skip
        qsd.add({"driver": "snapshot-access", "node-name": "past", "file": "guest"})
        guest = qemu_io(qsd.export("guest"), shadow=disk.shadow)
        past = qemu_io(qsd.export("past", writable=False), shadow=frozen, read_only=True)
        with guest, past:
            for number in range(0, 16, 4):
                guest.write(number * KIB64 + 7, 1)
                guest.write((number + 2) * KIB64 - 3, 6)
                past.read(number * KIB64, 4 * KIB64)
                guest.read(number * KIB64, 4 * KIB64)
            # First overwrites of the rest race with reads of the same clusters.
            for number in range(0, 16, 4):
                guest.aio_write((number + 3) * KIB64, KIB64)
                past.aio_read((number + 3) * KIB64, KIB64)
                past.aio_read(number * KIB64 + 512, 2 * KIB64)
            expect_equal(len(past.drain()), 8, "the number of completed reads of the past")
            guest.drain()
            past.read(0, disk.size)
            guest.flush()
    disk.verify()

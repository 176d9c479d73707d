"""This case checks that backup with sync=none keeps a point in time while the disk changes.

How: the classic fleecing scheme: an overlay has the live disk as its backing, and a backup job
saves old data there before each write. The overlay's export is read throughout and must never
change.
Related: snapshot-not-point-in-time, discard-not-tracked, snapshot-map-under-io.
"""

from copy import deepcopy

from qbdcheck.kit import case
from qbdcheck.kit.expectations import expect_equal

KIB64 = 64 << 10


@case(groups="job backup snapshot export concurrent", basis="MUST: QAPI, blockdev-backup")
def test(new_disk, qemu_io, qemu_img, storage_daemon, scratch):
    disk = new_disk("1M")
    frozen = deepcopy(disk.shadow)
    qemu_img("create", "-q", "-f", "qcow2", scratch / "saved", str(disk.size))
    with storage_daemon() as qsd:
        qsd.add(disk.blockdev("source"))
        saved = {"driver": "file", "filename": str(scratch / "saved")}
        qsd.add({"driver": "qcow2", "node-name": "past", "file": saved, "backing": "source"})
        guest = qemu_io(qsd.export("source"), shadow=disk.shadow)
        qsd.qmp("blockdev-backup", job_id="fleece", device="source", target="past", sync="none",
                auto_dismiss=False)  # fmt: skip
        past = qemu_io(qsd.export("past", writable=False), shadow=frozen, read_only=True)
        with guest, past:
            past.read(0, disk.size)
            for number in range(0, 16, 8):
                guest.write(number * KIB64 + 1000, 3 * KIB64)
                guest.write_zeroes((number + 5) * KIB64, KIB64)
                past.read(number * KIB64, 8 * KIB64)
            for number in range(0, 16, 8):
                guest.aio_write((number + 6) * KIB64 + 5, 2 * KIB64 - 9)
                past.aio_read((number + 6) * KIB64, 2 * KIB64)
            expect_equal(len(past.drain()), 2, "the number of completed reads of the past")
            guest.drain()
            past.read(0, disk.size)
            qsd.qmp("block-job-cancel", device="fleece")
            qsd.wait_event("BLOCK_JOB_CANCELLED", device="fleece")
            guest.flush()
    disk.verify()

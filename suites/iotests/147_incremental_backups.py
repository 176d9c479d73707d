"""This case checks that a full backup with its increments equals the disk after each of three
rounds.

How: writes, zeroes, sub-cluster writes and discards between the rounds, and writes during them.
Each increment copies onto the same copy, and only what the bitmap names: its size is compared too.
Related: incremental-misses-hole, discard-not-tracked, rebuild-granularity-mismatch.
"""

from qbdcheck.kit import case
from qbdcheck.kit.expectations import expect_equal

CHUNK = 64 << 10


@case(groups="job backup bitmap discard quick", basis="MUST: QAPI, blockdev-backup")
def test(disk, new_disk, qemu_io, storage_daemon, target):
    copy = new_disk()
    # Otherwise other clients may miss what this daemon has written, until it has closed the copy.
    is_seen = "nbd" not in target.capabilities or "multi_conn" in target.capabilities
    with storage_daemon() as qsd:
        qsd.add(disk.blockdev("source", discard="unmap"))
        qsd.add(copy.blockdev("copy"))
        with qemu_io(qsd.export("source"), shadow=disk.shadow) as io:
            backup = {"job-id": "job", "device": "source", "target": "copy", "auto-dismiss": False}
            qsd.execute("transaction", {"actions": [
                {"type": "block-dirty-bitmap-add",
                 "data": {"node": "source", "name": "b", "granularity": CHUNK}},
                {"type": "blockdev-backup", "data": {**backup, "sync": "full"}},
            ]})  # fmt: skip
            qsd.wait_job("job")
            if is_seen:
                same(copy, disk)
            for number in range(3):
                start = number << 21
                io.write(start + 5, 1)
                io.write(start + CHUNK - 3, 6)
                io.write_zeroes(start + (4 * CHUNK), 2 * CHUNK, unmap=bool(number % 2))
                io.discard(start + (10 * CHUNK), CHUNK)
                disk.verify(start + (10 * CHUNK), CHUNK)
                frozen = disk.shadow.expected(0, disk.size)
                qsd.qmp("blockdev-backup", sync="incremental", bitmap="b", **backup)
                io.write(start + (20 * CHUNK), 1)
                io.write(start + (4 * CHUNK), 1)
                done = qsd.wait_job("job")
                # Dirty clusters: two of sub-cluster writes, two of zeroes, one discarded. From the
                # second round on also the two written during the job of the round before.
                expect_equal(
                    done["total-progress"],
                    (5 + 2 * bool(number)) * CHUNK,
                    f"round {number}: the copied bytes",
                )
                copy.shadow.write(0, frozen)
                if is_seen:
                    copy.verify()
    copy.verify()
    disk.verify()


def same(copy, disk):
    """Compare the copy with the disk."""
    copy.shadow.write(0, disk.shadow.expected(0, disk.size))
    copy.verify()

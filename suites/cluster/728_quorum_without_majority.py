"""This case checks that a quorum whose children all differ fails a read, and returns no data.

How: at one place the three volumes have three contents, at another two of them are equal. A read of
the first place fails with EIO and QUORUM_FAILURE, also as a part of a larger read. The other place
reads as the majority has it. With rewrite-corrupted nothing is rewritten without a majority.
Guards: stale-replica-after-failover, some-read-errors-ignored, resync-overwrites-newer.
"""

from copy import deepcopy

from qbdcheck.kit import case
from qbdcheck.kit.expectations import expect_errno
from qbdcheck.kit.quorum import equal_disks, export_quorum

EIO, KIB = 5, 1 << 10
SPLIT, OUTVOTED = 256 * KIB, 512 * KIB


@case(groups="cluster errors export", basis="MUST: QAPI, BlockdevOptionsQuorum")
def test(new_disk, qemu_io, storage_daemon):
    disks = equal_disks(new_disk)
    common = deepcopy(disks[0].shadow)
    for number, disk in enumerate(disks):
        with qemu_io(disk) as direct:
            direct.write(SPLIT, 4 * KIB, pattern=number + 1)
            if number == 2:
                direct.write(OUTVOTED, 4 * KIB)
            direct.flush()
    with storage_daemon() as qsd:
        uri = export_quorum(qsd, disks, rewrite_corrupted=True)
        with qemu_io(uri, shadow=common) as io:
            io.read(0, SPLIT)
            io.read(OUTVOTED - 4 * KIB, 16 * KIB)
        for offset, length in ((SPLIT, 4 * KIB), (SPLIT - 64 * KIB, 128 * KIB)):
            with qemu_io(uri, shadow=common) as io:  # QEMU 7.2's server closes the connection
                expect_errno(io, f"read {offset} {length}", EIO)
        failed = qsd.wait_event("QUORUM_FAILURE")["data"]
        first, count = failed["sector-num"], failed["sectors-count"]
        assert first <= SPLIT // 512 < first + count, (
            f"QUORUM_FAILURE names other sectors: {failed}"
        )
    for number, disk in enumerate(disks):
        if number == 2:  # outvoted there, so it was rewritten
            disk.verify(0, OUTVOTED)
        else:
            disk.verify()

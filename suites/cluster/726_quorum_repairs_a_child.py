"""This case checks that a quorum with rewrite-corrupted repairs the child that differs.

How: three equal volumes are behind a quorum. Several ranges of one are changed directly. A read
through the quorum returns the right data and reports the child, and afterwards the child has the
right data there. What was not read stays as it was changed.
Guards: silent-bit-flip, stale-replica-after-failover, resync-overwrites-newer.
"""

from copy import deepcopy

from qbdcheck.kit import case
from qbdcheck.kit.expectations import expect_equal
from qbdcheck.kit.quorum import equal_disks, export_quorum

KIB = 1 << 10
CHANGED = ((0, 512), (100 * KIB + 512, 3 * KIB), (300 * KIB, 64 * KIB))
LEFT = (700 * KIB, 4 * KIB)


@case(groups="cluster rw export", basis="MUST: QAPI, BlockdevOptionsQuorum")
def test(new_disk, qemu_io, storage_daemon):
    disks = equal_disks(new_disk)
    with qemu_io(disks[1]) as direct:
        for offset, length in (*CHANGED, LEFT):
            direct.write(offset, length)
        direct.flush()
    with storage_daemon() as qsd:
        uri = export_quorum(qsd, disks, rewrite_corrupted=True)
        with qemu_io(uri, shadow=disks[0].shadow) as io:
            io.read(0, 600 * KIB)
            io.flush()
        bad = qsd.wait_event("QUORUM_REPORT_BAD")["data"]
        expect_equal((bad["node-name"], bad["type"]), ("child1", "read"), "QUORUM_REPORT_BAD")
    changed = deepcopy(disks[1].shadow)
    disks[1].shadow = deepcopy(disks[0].shadow)
    disks[1].verify(0, 600 * KIB)
    disks[1].shadow = changed
    disks[1].verify(*LEFT)
    disks[0].verify()
    disks[2].verify()

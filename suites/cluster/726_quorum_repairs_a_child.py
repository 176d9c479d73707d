"""This case checks that a quorum with rewrite-corrupted repairs the child that differs.

How: three equal volumes are behind a quorum. Several ranges of one are changed directly. A read
through the quorum returns the right data and reports the child, and afterwards the child has the
right data there. What was not read stays as it was changed.
Guards: silent-bit-flip, stale-replica-after-failover, resync-overwrites-newer.
"""

from copy import deepcopy

from qbdcheck.kit import case
from qbdcheck.kit.blockdev import node
from qbdcheck.kit.expectations import expect_equal

KIB = 1 << 10
CHANGED = ((0, 512), (100 * KIB + 512, 3 * KIB), (300 * KIB, 64 * KIB))
LEFT = (700 * KIB, 4 * KIB)


@case(groups="cluster rw export", basis="MUST: QAPI, BlockdevOptionsQuorum")
def test(new_disk, qemu_io, storage_daemon):
    disks = [new_disk("1M", prefill=False) for _ in range(3)]
    for disk in disks:
        disk.shadow = disks[0].shadow
        disk.prefill()
    disks[1].shadow = deepcopy(disks[0].shadow)
    with qemu_io(disks[1]) as direct:
        for offset, length in (*CHANGED, LEFT):
            direct.write(offset, length)
        direct.flush()
    with storage_daemon() as qsd:
        for number, disk in enumerate(disks):
            qsd.add(disk.protocol_blockdev(f"child{number}"))
        names = [f"child{number}" for number in range(3)]
        qsd.add(node("quorum", "all", children=names, vote_threshold=2, rewrite_corrupted=True))
        with qemu_io(qsd.export("all"), shadow=disks[0].shadow) as io:
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

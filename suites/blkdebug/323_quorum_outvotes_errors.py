"""This case checks that a quorum of three survives the errors of one child, and not those of two.

How: children whose reads or writes fail. The guest must see data as long as two children work, and
QMP must report the bad one. With two bad ones the guest must see an error.
Related: flush-one-child-only, async-error-ignored, stale-replica-after-failover.
"""

from errno import EIO

from qbdcheck.kit import case
from qbdcheck.kit.blkdebug import blkdebug, error
from qbdcheck.kit.blockdev import node
from qbdcheck.kit.expectations import expect_equal, expect_errno

BAD = 200


@case(groups="inject errors export", basis="MUST: QAPI, BlockdevOptionsQuorum")
def test(new_disk, qemu_io, storage_daemon):
    disks = [new_disk("512k", prefill=False) for _ in range(3)]
    for kind in ("read", "write"):
        rules = {
            0: [error(number=EIO, iotype=kind, sector=BAD), error(iotype=kind, sector=900)],
            1: [error(number=EIO, iotype=kind, sector=900)],
            2: [],
        }
        with storage_daemon() as qsd:
            for number, disk in enumerate(disks):
                name = f"child{number}"
                qsd.add(blkdebug(disk.protocol_blockdev(), *rules[number], node_name=name))
            children = [f"child{number}" for number in range(3)]
            qsd.add(node("quorum", "quorum", children=children, vote_threshold=2))
            with qemu_io(qsd.export("quorum"), shadow=disks[2].shadow) as io:
                io.write(BAD * 512 - 1000, 3000)
                if kind == "read":
                    io.write(900 * 512, 512)  # a hole would not be read
                io.read(BAD * 512 - 1000, 3000)
                io.write(0, 4096)
                # Last, because QEMU 7.2's server closes the connection of a failed read.
                expect_errno(io, f"{kind} {900 * 512} 512", EIO)
                event = qsd.wait_event("QUORUM_REPORT_BAD", **{"node-name": "child0"})["data"]
                expect_equal(event["type"], kind, "QUORUM_REPORT_BAD: type")
        if kind == "write":
            # the failed write reached the good child, which is now old or new
            disks[2].shadow.pattern(900 * 512, 512, 0xCD, maybe=True)
        disks[2].verify()

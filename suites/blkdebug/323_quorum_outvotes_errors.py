"""This case checks that a quorum of three bears the errors of one child, and not those of two.

How: children whose reads, writes or flushes fail; the guest sees data as long as two are good, QMP
hears of the bad one, and with two bad ones the guest sees an error.
Guards: flush-one-child-only, async-error-ignored, stale-replica-after-failover.
"""

from errno import EIO

from qbdcheck.kit import case
from qbdcheck.kit.blkdebug import blkdebug, errno_of, error
from qbdcheck.kit.blockdev import node

BAD = 200


@case(groups="inject errors export")
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
                # The last request: QEMU 7.2's server ends a connection whose read failed.
                assert errno_of(io, f"{kind} {900 * 512} 512") == EIO
                event = qsd.wait_event("QUORUM_REPORT_BAD", **{"node-name": "child0"})["data"]
                assert event["type"] == kind, event
        if kind == "write":
            # the failed write reached the one good child: old or new there
            disks[2].shadow.pattern(900 * 512, 512, 0xCD, maybe=True)
        disks[2].verify()

"""This case checks that an error belongs to the client whose request met it.

How: three clients of one export write and read their own parts, many requests in flight; one sector
of one part fails once. Exactly that client sees exactly one error, and all data is right.
Guards: cross-connection-state, async-error-ignored, error-kills-connection.
"""

from errno import ENOSPC

from qbdcheck.kit import case, parse_reports
from qbdcheck.kit.blkdebug import blkdebug, error

PART, PIECE = 1 << 20, 20_000


@case(groups="inject errors export concurrent")
def test(disk, qemu_io, storage_daemon):
    rule = error(number=ENOSPC, iotype="write", sector=(PART + 5 * PIECE) // 512 + 3, once=True)
    with storage_daemon() as qsd:
        qsd.add(blkdebug(disk.protocol_blockdev(), rule, node_name="disk"))
        uri = qsd.export("disk")
        ios = [qemu_io(uri) for _ in range(3)]
        said = ["", "", ""]
        for number in range(10):
            for client, io in enumerate(ios):
                at = client * PART + number * PIECE
                said[client] += io(f"aio_write -P {client * 16 + number + 1} {at} {PIECE}")
        for client, io in enumerate(ios):
            reports = parse_reports(said[client] + io("aio_flush"))
            errors = [one.error for one in reports if one.error]
            assert errors == (["No space left on device"] if client == 1 else []), (client, errors)
            assert len(reports) == 10
            for number in range(10):
                at, byte = client * PART + number * PIECE, client * 16 + number + 1
                disk.shadow.pattern(at, PIECE, byte, maybe=(client, number) == (1, 5))
        for io in ios:
            io("flush")
            assert "failed" not in io(f"read -P 1 0 {PIECE}")
            io.close()
    disk.verify()

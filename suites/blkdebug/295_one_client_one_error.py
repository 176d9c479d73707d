"""This case checks that only the client whose request met an error sees it.

How: three clients of one export write and read their own parts, with many requests in flight. One
sector of one part fails once. Exactly that client must see exactly one error, and all data must be
right.
Related: cross-connection-state, async-error-ignored, error-kills-connection.
"""

from errno import ENOSPC

from qbdcheck.kit import case, parse_reports
from qbdcheck.kit.blkdebug import blkdebug, error
from qbdcheck.kit.expectations import expect_equal

PART, PIECE = 1 << 20, 20_000


@case(groups="inject errors export concurrent", basis="SHOULD: NBD, Error values")
def test(disk, qemu_io, storage_daemon):
    rule = error(number=ENOSPC, iotype="write", sector=(PART + 5 * PIECE) // 512 + 3, once=True)
    with storage_daemon() as qsd:
        qsd.add(blkdebug(disk.protocol_blockdev(), rule, node_name="disk"))
        uri = qsd.export("disk")
        ios = [qemu_io(uri) for _ in range(3)]
        output = ["", "", ""]
        for number in range(10):
            for client, io in enumerate(ios):
                at = client * PART + number * PIECE
                output[client] += io(f"aio_write -P {client * 16 + number + 1} {at} {PIECE}")
        for client, io in enumerate(ios):
            reports = parse_reports(output[client] + io("aio_flush"))
            errors = [one.error for one in reports if one.error]
            expect_equal(
                errors,
                ["No space left on device"] if client == 1 else [],
                f"the errors of client {client}",
            )
            expect_equal(len(reports), 10, f"the number of completed requests of client {client}")
            for number in range(10):
                at, byte = client * PART + number * PIECE, client * 16 + number + 1
                disk.shadow.pattern(at, PIECE, byte, maybe=(client, number) == (1, 5))
        for io in ios:
            io("flush")
            assert "failed" not in io(f"read -P 1 0 {PIECE}"), (
                "the first piece is not the pattern 1 after the error"
            )
            io.close()
    disk.verify()

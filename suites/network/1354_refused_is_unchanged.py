"""This case checks that a refused request leaves contents, size and status as they were.

How: every command beyond the end, with an overflowing end, with unknown flags, of length 0 or
unaligned; commands that do not exist; and every change of a read-only disk. After each error
everything is read again, and a new handshake and the block status show nothing new.
Guards: refused-flag-executed, refused-write-partial, oob-past-end.
"""

from qbdcheck.kit import case
from qbdcheck.kit.block_status import expect_status, follow
from qbdcheck.kit.expectations import expect_bytes
from qbdcheck.kit.nbd import Command, CommandFlag, TransmissionFlag
from qbdcheck.kit.nbd_probe import errno_of
from qbdcheck.kit.nbd_requests import describe

SIZE, BLOCK = 1 << 20, 4096
CHANGES = (Command.WRITE, Command.WRITE_ZEROES, Command.TRIM)
OFFERED = {
    Command.TRIM: TransmissionFlag.SEND_TRIM,
    Command.WRITE_ZEROES: TransmissionFlag.SEND_WRITE_ZEROES,
    Command.CACHE: TransmissionFlag.SEND_CACHE,
}
END = 1 << 64
BEYOND = ((SIZE - BLOCK, 2 * BLOCK), (SIZE, BLOCK), (1 << 40, BLOCK), (END - BLOCK, 2 * BLOCK))


@case(
    groups="protocol errors status",
    requires="nbd",
    basis=("MUST: NBD, Error values", "POLICY: refused-request-changes-nothing"),
)
def test(new_disk, nbd_io, nbd, target):
    refused = refuse(new_disk(SIZE), nbd_io, nbd, kinds_of)
    assert refused, "no request was refused"
    if "min_block" in target.capabilities:
        refuse(new_disk(SIZE, min_block=BLOCK), nbd_io, nbd, unaligned)
    if "read_only" in target.capabilities:
        refuse(new_disk(SIZE, read_only=True), nbd_io, nbd, changes)


def kinds_of():
    """Yield requests of which a server may refuse each, and must refuse most."""
    for command in (*CHANGES, Command.READ, Command.CACHE, Command.BLOCK_STATUS):
        yield from ((command, offset, length, 0) for offset, length in BEYOND)
        yield command, BLOCK, BLOCK, 1 << 13
        yield command, BLOCK, BLOCK, 1 << 13 | CommandFlag.FUA
    yield Command.BLOCK_STATUS, 0, 0, 0
    yield Command.FLUSH, 0, 0, 1 << 13
    yield from ((command, BLOCK, BLOCK, 0) for command in (8, 99, 0x7FFF))


def unaligned():
    """Yield requests that are not aligned to 4 KiB."""
    for command in (*CHANGES, Command.READ, Command.BLOCK_STATUS):
        yield from ((command, *place, 0) for place in ((512, BLOCK), (BLOCK, 512), (1, 1)))


def changes():
    """Yield changes, for a disk that is read-only."""
    for flags in (0, CommandFlag.FUA):
        yield from ((command, BLOCK, BLOCK, flags) for command in CHANGES)
    yield Command.WRITE_ZEROES, 0, SIZE, CommandFlag.NO_HOLE


def refuse(disk, nbd_io, nbd, kinds):
    """Send requests; where one is refused, all must be as before. Return how many were refused."""
    before = status(disk, nbd)
    refused = 0
    for command, offset, length, flags in kinds():
        what = f"{describe(command, offset, length, flags)} was refused"
        with nbd(disk) as client:
            if not client.flags & OFFERED.get(command, 1):
                continue
            payload = b"\xee" * length if command == Command.WRITE else b""
            if not errno_of(client, command, offset, length, flags, payload):
                continue  # whether it may be accepted is the subject of other cases
        refused += 1
        with nbd_io(disk) as io:
            expect_bytes(io.client.size, SIZE, f"the export after {what}")
            io.name = f"a new connection, after {what}"
            io.read(0, SIZE)
        for name, seen in status(disk, nbd).items():
            expect_status(seen, before[name], f"{name} after {what}")
    return refused


def status(disk, nbd):
    with nbd(disk) as client:
        return follow(client, 0, SIZE) if client.contexts else {}

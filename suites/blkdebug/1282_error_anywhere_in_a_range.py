"""This case checks that an error anywhere in the range of a request fails this request.

How: one sector of the storage fails. Reads, writes and zeroes have it as their first sector, their
last one, and at places between, for lengths below and above page, 64 KiB and 1 MiB. Each must
report an error, and the next request, directly beside the sector, must succeed. So must requests up
to 60 KiB away. Then the sector heals, and all is read.
Guards: readahead-error-reported, split-status-of-last-part, async-error-ignored,
missing-object-zero-fill.
"""

from qbdcheck.kit import case
from qbdcheck.kit.expectations import errno_name, wrong_errno
from qbdcheck.kit.nbd import Command, TransmissionFlag
from qbdcheck.kit.nbd_requests import widened

KIB, SECTOR = 1 << 10, 512
BAD = 1536 * KIB + 40 * KIB
"""Offset of the sector that fails; not at an edge of 4 KiB to 1 MiB."""
LENGTHS = (4 * KIB, 96 * KIB, 1200 * KIB)
EVENTS = {
    Command.READ: "read_aio",
    Command.WRITE: "write_aio",
    Command.WRITE_ZEROES: "pwritev_zero",
}


@case(
    groups="errors inject rw zero quick",
    requires="nbd",
    basis=("MUST: NBD, Error values", "POLICY: failed-write-old-or-new"),
)
def test(new_disk, nbd_io, rules):
    disk = new_disk("4M")
    rules = rules.on(disk)
    with nbd_io(disk) as io:
        minimum, longest = max(SECTOR, io.block_sizes[0]), io.block_sizes[2]
        bad = BAD // minimum * minimum
        for command, event in EVENTS.items():
            if command is Command.WRITE_ZEROES and not io.offers(
                TransmissionFlag.SEND_WRITE_ZEROES
            ):
                continue
            rule = rules.add({"event": event, "errno": "EIO", "sector": bad // SECTOR})
            limit = min(disk.size, longest)  # longer zeroes may be refused
            for length in {min(widened(0, length, minimum)[1], limit) for length in LENGTHS}:
                for before in (0, length // 3, length // 2, length - minimum):
                    at = bad - before // minimum * minimum
                    seen = io.attempt(command, at, length)
                    assert seen > 0, (
                        f"{command.name} of {length} bytes at {at}: the sector at {bad} fails,"
                        f" {bad - at} bytes behind the start; expected an error, got"
                        f" {errno_name(seen)}"
                    )
                    at = bad + minimum if before < length // 2 else bad - minimum
                    assert_success(io, command, at, minimum, bad)
            lengths = (minimum, 4 * KIB, 64 * KIB, 96 * KIB)
            for beside in {min(widened(0, length, minimum)[1], limit) for length in lengths}:
                for at in (bad - beside, bad + minimum, bad - beside - 60 * KIB):
                    start = at // minimum * minimum
                    assert_success(io, command, start, beside, bad)
            rules.remove(rule)
        io.read(0, disk.size)
    disk.verify()


def assert_success(io, command, at, length, bad):
    """Check that a request beside the bad sector succeeds; the place is in whole blocks."""
    if at <= bad < at + length:
        return
    seen = io.attempt(command, at, length)
    if seen:
        what = f"{command.name} of {length} bytes at {at}; only the sector at {bad} is bad"
        raise wrong_errno(what, seen, 0)

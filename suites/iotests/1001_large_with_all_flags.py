"""This case checks that zeroes, discards and cache requests of any length work with all flags.

How: lengths around 32 MiB, 64 MiB, 2 GiB and 4 GiB, with extended headers also of 4 GiB and more,
with each combination of FUA, FAST_ZERO and (up to 64 MiB, because it takes space) NO_HOLE. Data
just before, in, at the places where lengths are cut, and just behind each range is read afterwards.
Guards: zeroes-length-wrap, fast-zero-int-length, fua-zeroes-cut, cache-long-hangs-up,
write-zeroes-noop, discard-overreach.
"""

from errno import EINVAL, ENOTSUP

from qbdcheck.kit import case
from qbdcheck.kit.nbd import Command, CommandFlag, ReplyMode, TransmissionFlag
from qbdcheck.kit.nbd_io import CLOSED, TOO_LONG
from qbdcheck.kit.nbd_requests import describe
from qbdcheck.kit.volume_limits import first_possible

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
START, MARK = 20 * KIB, 8 * KIB
CUTS = (32 * MIB, 64 * MIB, 2 * GIB)
"""Lengths at which a range may be cut."""
LENGTHS = (*(at + more for at in CUTS for more in (-4096, 0, 4096)), 4 * GIB - 4096)
BEYOND_32_BITS = (4 * GIB, 4 * GIB + 4096, 5 * GIB)
FLAGS = {"fua": CommandFlag.FUA, "fast_zero": CommandFlag.FAST_ZERO}


@case(
    groups="size zero discard protocol",
    requires="raw_requests write_zeroes",
    basis=(
        "MUST: NBD, NBD_CMD_WRITE_ZEROES",
        "MUST: NBD, NBD_CMD_TRIM",
        "MUST: NBD, NBD_CMD_CACHE",
    ),
)
def test(nbd_io, target, log):
    disk = first_possible(target, [9 * GIB >> less for less in range(0, 9, 2)], log)
    with nbd_io(disk) as io:
        send_all(io, target, LENGTHS)
    with nbd_io(disk, extended=True) as io:
        if io.client.mode is ReplyMode.EXTENDED:
            send_all(io, target, BEYOND_32_BITS)


def send_all(io, target, lengths):
    offered = [flag for name, flag in FLAGS.items() if name in target.capabilities]
    size = io.client.size
    for length in (one for one in lengths if START + one + 2 * MARK <= size):
        holes = (0, CommandFlag.NO_HOLE) if length <= 64 * MIB else (0,)
        for flags in combinations(offered):
            for hole in holes:
                attempt(io, Command.WRITE_ZEROES, length, flags | hole)
        for flags in combinations([flag for flag in offered if flag is CommandFlag.FUA]):
            if io.offers(TransmissionFlag.SEND_TRIM):
                attempt(io, Command.TRIM, length, flags)
            if io.offers(TransmissionFlag.SEND_CACHE):
                attempt(io, Command.CACHE, length, flags)


def combinations(flags):
    """Return the sums of all subsets."""
    sums = [0]
    for flag in flags:
        sums += [one | flag for one in sums]
    return sums


def attempt(io, command, length, flags):
    """Put data around the range, send the request, and read the data."""
    end = START + length
    marks = [START - MARK, START, *(START + cut - 4096 for cut in CUTS), end - MARK, end]
    marks = [at for at in marks if at <= end]
    for at in marks:
        io.write(at, MARK)
    what = describe(command, START, length, flags)
    error = io.attempt(command, START, length, flags)
    assert error != CLOSED, f"{what}: the server closed the connection"
    may_refuse = set(TOO_LONG) if length > io.longest_sure else set()
    may_refuse |= {EINVAL} if command == Command.CACHE else set()
    allowed = {0, *may_refuse, ENOTSUP if flags & CommandFlag.FAST_ZERO else 0}
    assert error in allowed, f"{what}: errno {error}, expected {sorted(allowed)}"
    io.name = f"the connection, after {what}"
    for at in marks:
        io.read(at, MARK)

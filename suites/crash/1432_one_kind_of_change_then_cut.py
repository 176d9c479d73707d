"""This case checks that a flush, and FUA, hold also if only one kind of change came before them.

How: one kind of request (write, write zeroes, discard) in one shape (a sector, a block, a whole
unit of 64 KiB to 1 MiB, a part of one) changes a place that was never written, that has data, or
that is shared with a snapshot. Then comes a flush, or the requests had FUA; nothing else is
pending, and the power is cut at once. Each kind is tried in each shape, with both, in two places.
Guards: flush-forgets-deletions, fua-over-shared-volatile, fua-write-ack-early, fua-lost-on-trim,
zero-unmap-not-durable.
Related: fua-large-block-volatile, whole-zeroes-volatile.
"""

from itertools import product

from qbdcheck.kit import case
from qbdcheck.kit.nbd import Command, CommandFlag, TransmissionFlag
from qbdcheck.kit.nbd_requests import widened
from qbdcheck.kit.server_ends import cut, rounds

KIB, AREA = 1 << 10, 2 << 20
SHAPES = {
    "a sector": (0, 512),
    "a block": (4 * KIB, 4 * KIB),
    "64 KiB": (64 * KIB, 64 * KIB),
    "128 KiB": (128 * KIB, 128 * KIB),
    "1 MiB": (0, 1024 * KIB),
    "a part": (65000, 3000),
}
CHANGES = (Command.WRITE, Command.WRITE_ZEROES, Command.TRIM)
FLAGS = {
    Command.WRITE_ZEROES: TransmissionFlag.SEND_WRITE_ZEROES,
    Command.TRIM: TransmissionFlag.SEND_TRIM,
}
FUA = CommandFlag.FUA


@case(
    groups="flush crash zero discard snapshot quick",
    requires="raw_requests flush sudden_end",
    basis=("MUST: NBD, NBD_CMD_FLUSH", "MUST: NBD, Command flags"),
)
def test(new_disk, nbd_io, target, seed, log):
    random = seed.stream("kinds")
    places = ["new", "data", *(["shared"] if "snapshot_read" in target.capabilities else [])]
    kinds = [
        (*kind, place)
        for kind in product(CHANGES, SHAPES, (True, False))
        for place in random.sample(places, 2)
    ]
    random.shuffle(kinds)
    disk = new_disk(len(kinds) * AREA, prefill=False)
    for number in rounds(len(kinds)):
        command, shape, by_flush, place = kinds[number]
        start = number * AREA
        with nbd_io(disk) as io:
            if place != "new":
                io.write(start, AREA // 2)
                io.flush()
            if place == "shared":
                disk.snapshot(f"s{number}")
            if not is_offered(io, command, by_flush):
                continue
            offset, length = widened(start + SHAPES[shape][0], SHAPES[shape][1], io.block_sizes[0])
            change = {Command.WRITE_ZEROES: io.write_zeroes, Command.TRIM: io.discard}
            for at in (offset, offset + length)[: random.choice((1, 2))]:
                change.get(command, io.write)(at, length, 0 if by_flush else FUA)
            if by_flush:
                io.flush()
            log(f"{command.name} of {shape}, {place}, {'FLUSH' if by_flush else 'FUA'}")
            cut(disk, seed + number)
        with nbd_io(disk) as io:
            io.read(start, AREA)
    disk.verify()


def is_offered(io, command, by_flush):
    """Return whether the export has a command, and FUA where the command is to have it."""
    flag = FLAGS.get(command)
    has_fua = io.offers(TransmissionFlag.SEND_FUA)
    return (flag is None or io.offers(flag)) and (by_flush or has_fua)

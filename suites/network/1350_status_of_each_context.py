"""This case checks that each metadata context says alone what it says among others, in all modes.

How: data, zeroes, holes and changes since a snapshot on one volume. The map of each context alone
is taken first, range by range. Then all contexts, pairs of them and payloads that filter them are
asked for, with structured replies and with extended headers, with and without REQ_ONE. Each reply
must be complete, and equal what the context says alone.
Guards: contexts-share-flags, status-done-per-context, status-done-missing, payload-filter-ignored.
"""

from itertools import permutations

from qbdcheck.kit import block_status, case
from qbdcheck.kit.nbd import CommandFlag, TransmissionFlag
from qbdcheck.kit.nbd_probe import export_name, negotiating
from qbdcheck.kit.nbd_requests import widened

MIB, KIB, RANGES = 1 << 20, 1 << 10, 24


@case(
    groups="protocol status bitmap quick",
    requires="nbd structured block_status",
    basis=("MUST: NBD, NBD_CMD_BLOCK_STATUS", "MUST: NBD, Structured reply types"),
)
def test(new_disk, nbd, target, seed):
    disk = new_disk("2M")
    prepare(disk, nbd, target)
    with negotiating(disk) as client:
        client.opt_structured_reply()
        names = block_status.listed_contexts(client, export_name(disk))
    with nbd(disk) as client:
        ranges = list(ranges_of(client, disk.size, seed.stream("ranges")))

    alone = block_status.maps_alone(disk, nbd, names, ranges)
    for extended in (False, True):
        for contexts in [names, *permutations(names, 2), *((name,) for name in names)]:
            with nbd(disk, contexts=contexts, extended=extended) as client:
                client.sock.settimeout(10)
                for start, length in ranges:
                    try:
                        compare(client, alone, start, length)
                    except block_status.StatusWrong:
                        now = block_status.maps_alone(disk, nbd, names, ranges)
                        if now == alone:
                            raise
                        alone = now  # a file system may change its answer
                        compare(client, alone, start, length)


def compare(client, alone, start, length):
    filters = [None]
    if client.flags & TransmissionFlag.BLOCK_STAT_PAYLOAD:  # only with extended headers
        filters += [(name,) for name in client.contexts.values()]
    for flags in (0, CommandFlag.REQ_ONE):
        for only in filters:
            for name, extents in block_status.ask(client, start, length, flags, only).items():
                seen = block_status.joined(block_status.runs(start, start + length, extents))
                what = f"{name} with {len(client.contexts)} contexts, {client.mode.name}"
                expected = block_status.part(alone[name, start, length], start, seen[-1][1])
                block_status.expect_status(seen, expected, f"{what}, [{start}, {start + length})")


def ranges_of(client, size, random):
    """Yield the whole volume and ranges of several lengths, in blocks that the server accepts."""
    yield 0, size
    for _ in range(RANGES):
        start = random.choice((0, 64 * KIB, 300 * KIB, MIB, random.randrange(size - 4096)))
        length = random.choice((512, 4096, 100 * KIB, MIB - 1, size))
        start, length = widened(start, length, client.block_sizes[0] if client.block_sizes else 1)
        yield start, min(length, size - start)


def blocks(client, start_kib, length_kib):
    """Return a range in bytes that the server accepts."""
    minimum, _, most = client.block_sizes or (1, 4 * KIB, 16 * MIB)
    start, length = widened(start_kib * KIB, length_kib * KIB, minimum)
    return start, min(length, most // minimum * minimum)


def prepare(disk, nbd, target):
    """Make holes, zeroes and data, and change some of each after a snapshot."""
    able = target.capabilities
    for round_ in range(2):
        with nbd(disk, contexts=()) as client:
            if "discard" in able:
                client.trim(*blocks(client, 300 + 400 * round_, 128))
            if "write_zeroes" in able:
                client.write_zeroes(*blocks(client, 100 + 400 * round_, 64))
                place = blocks(client, 1300 + 200 * round_, 64)
                client.write_zeroes(*place, CommandFlag.NO_HOLE)
            at, length = blocks(client, 64 + 336 * round_, 8)
            client.write(at, disk.shadow.stamped(0, length))
        if "snapshot" in able and not round_:
            disk.backend.snapshot("base")  # a target may need a restart for it

"""This case checks that block status is right for extents and requests of 4 GiB and more.

How: islands of data on a sparse volume of 9 GiB, with a hole of more than 4 GiB. The map is taken
by requests of 1 GiB. Requests of 2^32-1 and 2^32-512 bytes and, with extended headers, of the
whole volume must return parts of that map. It may change meanwhile: where they differ, both are
taken again. No answer may call an island zero.
Guards: extent-32bit-wrap, status-length-wrap, offset-32bit-wrap.
"""

from qbdcheck.kit import case
from qbdcheck.kit.block_status import (
    agree,
    ask,
    expect_data,
    expect_status,
    follow,
    joined,
    part,
    runs,
)
from qbdcheck.kit.nbd import Command, CommandFlag, ReplyMode
from qbdcheck.kit.nbd_requests import describe, widened

BASE = "base:allocation"
GIB, KIB = 1 << 30, 1 << 10
SIZE, ISLAND = 9 * GIB, 64 * KIB
ISLANDS = (0, 4 * GIB - ISLAND, 4 * GIB + ISLAND, SIZE - ISLAND)
STARTS = (0, ISLAND, 4 * GIB - 4096, 4 * GIB + 2 * ISLAND, SIZE - 4 * GIB)
LENGTHS = (2 * GIB, 4 * GIB - 64 * KIB, 4 * GIB - 512, 4 * GIB - 1)


@case(
    groups="protocol status size quick",
    requires="nbd structured block_status",
    basis=("MUST: NBD, NBD_CMD_BLOCK_STATUS", "MUST: NBD, Structured reply types"),
)
def test(new_disk, nbd):
    disk = new_disk(SIZE, prefill=False)
    for extended in (False, True):
        with nbd(disk, extended=extended) as client:
            client.sock.settimeout(10)
            if not extended:
                for at in ISLANDS:
                    client.write(at, disk.shadow.stamped(at, ISLAND))
            minimum = client.block_sizes[0] if client.block_sizes else 1
            for start in STARTS:
                for length in LENGTHS:
                    if length % minimum == 0:
                        compare(client, start, min(length, SIZE - start))
                if client.mode is ReplyMode.EXTENDED:
                    compare(client, *widened(start, SIZE - start, minimum))
            if client.mode is ReplyMode.EXTENDED:
                compare(client, 0, SIZE)


def compare(client, start, length):
    """Check that the answer to one request is a part of the map."""

    def must_be_a_part(answers, maps):
        for name, seen in answers.items():
            what = f"{name} of {length} bytes at {start}, {client.mode.name}"
            expect_status(seen, part(maps[name], start, seen[-1][1]), what)

    asked = describe(Command.BLOCK_STATUS, start, length)
    for flags in (0, CommandFlag.REQ_ONE):
        agree(
            lambda: in_one(client, start, length, flags),  # noqa: B023  # called in this round
            lambda: judged(follow(client, start, start + length, step=GIB), f"{asked} in parts"),
            must_be_a_part,
        )


def in_one(client, start, length, flags):
    answers = ask(client, start, length, flags).items()
    maps = {name: joined(runs(start, start + length, each)) for name, each in answers}
    return judged(maps, describe(Command.BLOCK_STATUS, start, length, flags))


def judged(maps, request):
    """Return maps, the answer to a request, that call no island zero."""
    for at in ISLANDS if BASE in maps else ():
        expect_data(maps[BASE], at, at + ISLAND, request)
    return maps

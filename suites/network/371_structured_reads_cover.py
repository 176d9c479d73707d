"""This case checks that the chunks of a structured read cover it exactly, holes included.

How: reads across data, discarded and zeroed ranges. The client refuses gaps, overlaps and chunks
outside the range. With DF there is one chunk, or the error EOVERFLOW.
Guards: structured-read-gap.
Related: status-hole-over-dirty.
"""

from qbdcheck.kit import case
from qbdcheck.kit.nbd import Command, CommandFlag
from qbdcheck.kit.nbd_probe import errno_of
from qbdcheck.kit.nbd_requests import describe

EOVERFLOW = 75
RANGES = ((0, 4 << 20), (1 << 20, 1 << 20), ((1 << 20) - 512, 1 << 20), ((1 << 20) + 1536, 512),
          ((1 << 21) - 512, 1024), (0, 8 << 20))  # fmt: skip
"""Offsets and lengths in bytes for blocks of 512; they grow with the minimum block."""


@case(
    groups="protocol status quick",
    requires="nbd structured",
    basis=("MUST: NBD, Structured reply types", "MUST: NBD, Structured reply chunk message"),
)
def test(disk, nbd_io, target):
    with nbd_io(disk, contexts=()) as io:
        unit = max(512, io.block_sizes[0])
        if "discard" in target.capabilities:
            io.discard(1 << 20, 1 << 20)
        if "write_zeroes" in target.capabilities:
            io.write_zeroes((3 << 20) + unit, 1 << 19)
        for start, whole in RANGES:
            offset, length = start * unit // 512, min(whole * unit // 512, io.client.longest)
            if offset + length > disk.size:
                continue
            reply = io.finish(io.send(Command.READ, offset, length))
            covered = sum(size for _offset, size, _hole in reply.chunks)
            what = describe(Command.READ, offset, length)
            assert covered == length, f"{what}: the chunks cover {covered} bytes"
            if "df" not in target.capabilities:
                continue
            flags = CommandFlag.DF
            what = describe(Command.READ, offset, length, flags)
            if errno_of(io.client, Command.READ, offset, length, flags) == EOVERFLOW:
                assert length > 65536, f"{what}: EOVERFLOW, but 64 KiB must be answered"
                continue
            reply = io.finish(io.send(Command.READ, offset, length, flags))
            assert len(reply.chunks) == 1, f"{what}: {len(reply.chunks)} chunks, expected one"
    disk.verify()

"""This case checks that the chunks of a structured read cover it exactly, holes included.

How: reads across data, discarded and zeroed ranges at odd places; the client refuses gaps, overlaps
and chunks outside; with DF there is one chunk at most, or EOVERFLOW.
Guards: structured-read-gap, status-hole-over-dirty.
"""

from qbdcheck.kit import case
from qbdcheck.kit.nbd import Command, CommandFlag
from qbdcheck.kit.nbd_probe import outcome

EOVERFLOW = 75
RANGES = ((0, 4 << 20), (1 << 20, 1 << 20), ((1 << 20) - 512, 1 << 20), ((1 << 20) + 1536, 512),
          ((1 << 21) - 512, 1024), (0, 8 << 20))  # fmt: skip


@case(groups="protocol status quick", requires="nbd structured")
def test(disk, nbd, target):
    with nbd(disk, contexts=()) as client:
        if "discard" in target.capabilities:
            client.trim(1 << 20, 1 << 20)
            disk.shadow.discard(1 << 20, 1 << 20)
        if "write_zeroes" in target.capabilities:
            client.write_zeroes((3 << 20) + 512, 1 << 19)
            disk.shadow.zero((3 << 20) + 512, 1 << 19)
        for offset, whole_length in RANGES:
            length = min(whole_length, client.longest)
            reply = client.call(Command.READ, offset, length)
            disk.shadow.settle(offset, bytes(reply.data))
            assert sum(size for _offset, size, _hole in reply.chunks) == length
            if "df" not in target.capabilities:
                continue
            if outcome(client, Command.READ, offset, length, CommandFlag.DF) == EOVERFLOW:
                assert length > 65536, "DF of 64 KiB must be answered"
                continue
            whole = client.call(Command.READ, offset, length, flags=CommandFlag.DF)
            assert len(whole.chunks) == 1, f"{len(whole.chunks)} chunks with DF"
            disk.shadow.settle(offset, bytes(whole.data))
    disk.verify()

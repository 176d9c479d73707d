"""This case checks that small writes into one block at the same time are all kept.

How: four connections write neighbouring sectors of the same blocks of 4 KiB, or of eight minimum
blocks. All requests are in flight together, and no two overlap, so every write must be there.
Guards: thin-alloc-toctou, shared-cursor-race.
Related: merge-after-issue, multi-conn-incoherent.
"""

from contextlib import ExitStack

from qbdcheck.kit import case
from qbdcheck.kit.nbd import Command

BLOCKS, CLIENTS = 24, 4


@case(
    groups="concurrent rw protocol quick",
    requires="raw_requests multi_conn",
    basis="MUST: NBD, NBD_CMD_READ",
)
def test(new_disk, nbd_io):
    disk = new_disk("2M")
    for round_ in range(4):
        with ExitStack() as stack:
            clients = [stack.enter_context(nbd_io(disk)) for _ in range(CLIENTS)]
            sector = max(512, clients[0].block_sizes[0])
            for block in range(min(BLOCKS, disk.size // (8 * sector))):
                for number, client in enumerate(clients):
                    offset = (8 * block + 2 * number + round_ % 2) * sector
                    client.send(Command.WRITE, offset, sector)
            for client in clients:
                client.finish_all()
        disk.verify()

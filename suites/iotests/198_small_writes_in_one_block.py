"""This case checks that small writes into one block at the same time are all there.

How: four connections write neighbouring sectors of the same 4 KiB blocks, with all their requests
in flight together; no two of them overlap, so every one must be there.
Guards: thin-alloc-toctou, shared-cursor-race, merge-after-issue, multi-conn-incoherent.
"""

from contextlib import ExitStack

from qbdcheck.kit import case
from qbdcheck.kit.nbd import Command

BLOCKS, CLIENTS, SECTOR = 24, 4, 512


@case(groups="concurrent rw protocol quick", requires="nbd multi_conn")
def test(new_disk, nbd_io):
    disk = new_disk("2M")
    for round_ in range(4):
        with ExitStack() as stack:
            clients = [stack.enter_context(nbd_io(disk)) for _ in range(CLIENTS)]
            for block in range(BLOCKS):
                for number, client in enumerate(clients):
                    offset = block * 4096 + (2 * number + round_ % 2) * SECTOR
                    client.send(Command.WRITE, offset, SECTOR)
            for client in clients:
                client.finish_all()
        disk.verify()

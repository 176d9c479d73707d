"""This case checks that a flush covers all that was answered before it, on busy connections.

How: four connections write. One flushes while the others have writes in flight, and power fails
right after its reply. What was answered before the flush was sent is there.
Guards: multi-conn-incoherent, flush-one-child-only.
Related: flush-skip-generation-race.
"""

from contextlib import ExitStack

from qbdcheck.kit import case
from qbdcheck.kit.nbd import Command
from qbdcheck.kit.server_ends import cut, rounds

LENGTH = 8192


@case(
    groups="concurrent flush crash protocol",
    requires="raw_requests flush multi_conn sudden_end",
    basis=("MUST: NBD, NBD_CMD_FLUSH", "MUST: NBD, Transmission flags"),
)
def test(new_disk, nbd_io, seed):
    disk = new_disk("4M")
    for round_ in rounds(5):
        with ExitStack() as stack:
            clients = [stack.enter_context(nbd_io(disk)) for _ in range(4)]
            for number, client in enumerate(clients):
                for step in range(8):
                    offset = (number * 16 + step) * 3 * LENGTH + round_ * 4096
                    client.write(offset, LENGTH)
            for number, client in enumerate(clients):
                client.send(Command.WRITE, number * 16 * 3 * LENGTH + 13 * 4096, LENGTH)
            clients[round_ % 4].flush()
            for client in clients:
                client.finish_all()
            cut(disk, seed + round_)
        disk.verify()

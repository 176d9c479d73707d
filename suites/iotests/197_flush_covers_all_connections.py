"""This case checks that a flush by one connection makes durable what all others have written.

How: several connections write and get their replies. Only one flushes. Then the power is cut. A
server that advertises CAN_MULTI_CONN promises just this (NBD document, "NBD_FLAG_CAN_MULTI_CONN").
Guards: multi-conn-incoherent.
Related: flush-one-child-only, per-client-cache-stale.
"""

from contextlib import ExitStack

from qbdcheck.kit import case
from qbdcheck.kit.server_ends import cut, rounds

MIB = 1 << 20


@case(
    groups="flush crash concurrent protocol quick",
    requires="raw_requests flush multi_conn sudden_end",
    basis=("MUST: NBD, Transmission flags", "MUST: NBD, NBD_CMD_FLUSH"),
)
def test(disk, nbd_io, seed):
    for round_ in rounds(4):
        with ExitStack() as clients:
            connections = [clients.enter_context(nbd_io(disk)) for _ in range(4)]
            for number, client in enumerate(connections):
                client.write(number * 2 * MIB + round_ * 98_304, 69_632)
            connections[round_].flush()
            cut(disk, seed + round_)
        disk.verify()

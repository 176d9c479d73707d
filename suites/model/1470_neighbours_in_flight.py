"""This case checks that requests in flight change nothing but their own ranges.

How: two connections work in the same clusters of 64 KiB at the same time, on ranges that do not
overlap: one writes, the other discards, zeroes and writes, several requests in flight each. After
each round all clusters are read. It is one connection if the target lacks CAN_MULTI_CONN.
Guards: discard-races-write, thin-alloc-toctou, parity-buffer-shared.
"""

from qbdcheck.kit import case
from qbdcheck.kit.nbd import Command, TransmissionFlag

CLUSTER, BLOCK, CLUSTERS, ROUNDS = 65536, 4096, 6, 25


@case(
    groups="concurrent discard zero rw quick",
    requires="raw_requests",
    basis="MUST: NBD, NBD_CMD_WRITE",
)
def test(new_disk, nbd_io, seed):
    disk = new_disk(CLUSTERS * CLUSTER)
    random = seed.stream("places")
    with nbd_io(disk) as io, nbd_io(disk) as second:
        other = second if io.offers(TransmissionFlag.CAN_MULTI_CONN) else io
        kinds = [Command.WRITE]
        if io.offers(TransmissionFlag.SEND_TRIM):
            kinds.append(Command.TRIM)
        if io.offers(TransmissionFlag.SEND_WRITE_ZEROES):
            kinds.append(Command.WRITE_ZEROES)
        for _ in range(ROUNDS):
            for cluster in range(CLUSTERS):
                blocks = random.sample(range(CLUSTER // BLOCK), 6)
                for number, block in enumerate(blocks):
                    at = cluster * CLUSTER + block * BLOCK
                    if number % 2:
                        io.send(Command.WRITE, at, BLOCK)
                    else:
                        other.send(random.choice(kinds), at, BLOCK)
            io.finish_all()
            other.finish_all()
            io.read(0, disk.size)
    disk.verify()

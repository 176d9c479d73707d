"""This case checks that first writes to one unallocated block, in flight together, are all kept.

How: a raw client sends small writes to different sectors of the same never-written 64 KiB without
waiting for replies. It does so block after block, on two connections where the target allows it.
Guards: thin-alloc-toctou, shared-cursor-race.
Related: cross-connection-state.
"""

from qbdcheck.kit import case
from qbdcheck.kit.nbd import Command

WRITES = 16


@case(
    groups="rw quick protocol",
    requires="raw_requests",
    basis=("MUST: NBD, NBD_CMD_READ", "POLICY: fresh-volume-reads-zero"),
)
def test(new_disk, nbd_io, target):
    disk = new_disk(prefill=False)
    connections = 2 if "multi_conn" in target.capabilities else 1
    clients = [nbd_io(disk) for _ in range(connections)]
    sector = max(512, clients[0].block_sizes[0])
    step, length = max(4096, 4 * sector), min(2 * sector, clients[0].block_sizes[2])
    for block in range(min(64, disk.size // (WRITES * step))):
        for number in range(WRITES):
            offset = (block * WRITES + number) * step + number % 2 * sector
            clients[number % connections].send(Command.WRITE, offset, length)
        for client in clients:
            client.finish_all()
    for client in clients:
        client.close()
    disk.verify()

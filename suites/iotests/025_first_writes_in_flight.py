"""This case checks that first writes to one unallocated block, in flight together, are all kept.

How: a raw client sends small writes to different sectors of the same never-written 64 KiB without
waiting for replies, block after block, on two connections where the target allows it.
Guards: thin-alloc-toctou, shared-cursor-race, cross-connection-state.
"""

from qbdcheck.kit import case
from qbdcheck.kit.nbd import Command


@case(groups="rw quick protocol", requires="nbd")
def test(new_disk, nbd_io, target):
    disk = new_disk(prefill=False)
    connections = 2 if "multi_conn" in target.capabilities else 1
    clients = [nbd_io(disk) for _ in range(connections)]
    for block in range(64):
        for number in range(16):
            offset = block * 65536 + number * 4096 + number % 2 * 512
            clients[number % connections].send(Command.WRITE, offset, 1024)
        for client in clients:
            client.finish_all()
    for client in clients:
        client.close()
    disk.verify()

"""This case checks that first writes to one unallocated block, in flight together, are all kept.

How: a raw client sends small writes to different sectors of the same never-written 64 KiB without
waiting for replies. It does so block after block, on two connections where the target allows it.
Guards: thin-alloc-toctou, shared-cursor-race, cross-connection-state.
"""

from qbdcheck.kit import case
from qbdcheck.kit.nbd import Command
from qbdcheck.kit.nbd_requests import block_sizes, expect_success

WRITES = 16


@case(groups="rw quick protocol", requires="nbd")
def test(new_disk, nbd, target):
    disk = new_disk(prefill=False)
    connections = 2 if "multi_conn" in target.capabilities else 1
    clients = [nbd(disk) for _ in range(connections)]
    sector = max(512, block_sizes(clients[0]).minimum)
    step = max(4096, 4 * sector)
    for block in range(min(64, disk.size // (WRITES * step))):
        sent = []
        for number in range(WRITES):
            offset = (block * WRITES + number) * step + number % 2 * sector
            data = disk.shadow.stamped(offset, 2 * sector)
            client = clients[number % connections]
            cookie = client.send_request(Command.WRITE, offset, len(data), payload=data)
            sent.append((client, cookie, Command.WRITE, offset, len(data)))
            disk.shadow.write(offset, data)
        for request in sent:
            expect_success(*request)
    for client in clients:
        client.close()
    disk.verify()

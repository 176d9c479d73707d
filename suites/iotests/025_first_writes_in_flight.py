"""This case checks that first writes to one unallocated block, in flight together, are all kept.

How: a raw client sends small writes to different sectors of the same never-written 64 KiB without
waiting for replies, block after block, on two connections where the target allows it.
Guards: thin-alloc-toctou, shared-cursor-race, cross-connection-state.
"""

from qbdcheck.kit import case


@case(groups="rw quick protocol", requires="nbd")
def test(new_disk, nbd, target):
    disk = new_disk(prefill=False)
    connections = 2 if "multi_conn" in target.capabilities else 1
    clients = [nbd(disk) for _ in range(connections)]
    for block in range(64):
        sent = []
        for number in range(16):
            offset = block * 65536 + number * 4096 + number % 2 * 512
            data = disk.shadow.stamped(offset, 1024)
            client = clients[number % connections]
            sent.append((client, client.send_request(1, offset, 1024, payload=data)))
            disk.shadow.write(offset, data)
        for client, cookie in sent:
            assert client.receive_reply(cookie).error == 0
    for client in clients:
        client.close()
    disk.verify()

"""This case checks that two clients of one volume see what the other has written and flushed.

How: one raw connection repeatedly writes to the same place and to new places. The other reads them
after each flush, whichever of the two sent it. Then the two change roles.
Guards: per-client-cache-stale, multi-conn-incoherent.
Related: capability-bit-collision.
"""

from qbdcheck.kit import case


@case(
    groups="rw quick concurrent protocol",
    requires="nbd multi_conn flush",
    basis=("MUST: NBD, Transmission flags", "MUST: NBD, NBD_CMD_READ"),
)
def test(disk, nbd_io):
    clients = [nbd_io(disk), nbd_io(disk)]
    block = max(512, clients[0].block_sizes[0])
    cached = max(4096, block)  # caches hold whole blocks
    for client in clients:
        client.read(0, 1 << 20)
    for number in range(40):
        writer, reader = clients[:: 1 if number // 5 % 2 else -1]
        places = (cached, number * 2 * cached, (4 << 20) + number * block)
        for offset in places:
            writer.write(offset, 2 * block)
        (writer if number % 2 else reader).flush()
        for offset in places:
            reader.read(offset // cached * cached, 2 * cached)
    for client in clients:
        client.close()
    disk.verify()

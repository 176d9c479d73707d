"""This case checks that two clients of one volume see what the other has written and flushed.

How: one raw connection writes the same and different places over and over, the other reads them
after each flush, whichever of the two sent it; then they change roles.
Guards: per-client-cache-stale, multi-conn-incoherent, capability-bit-collision.
"""

from qbdcheck.kit import case


@case(groups="rw quick concurrent protocol", requires="nbd multi_conn flush")
def test(disk, nbd_io):
    clients = [nbd_io(disk), nbd_io(disk)]
    for client in clients:
        client.read(0, 1 << 20)
    for number in range(40):
        writer, reader = clients[:: 1 if number // 5 % 2 else -1]
        places = (4096, number * 8192, (4 << 20) + number * 512)
        for offset in places:
            writer.write(offset, 1024)
        (writer if number % 2 else reader).flush()
        for offset in places:
            start = offset & -4096  # caches hold whole blocks
            reader.read(start, 8192)
    for client in clients:
        client.close()
    disk.verify()

"""This case checks that two clients of one volume see what the other has written and flushed.

How: two raw connections write in turn to the same and to different sectors, flush, and read each
other's data; the flush of one also covers the writes of the other.
Guards: per-client-cache-stale, multi-conn-incoherent, capability-bit-collision.
"""

from qbdcheck import case


@case(groups="rw quick concurrent protocol", requires="nbd multi_conn flush")
def test(disk, nbd):
    clients = [nbd(disk), nbd(disk)]
    for client in clients:
        client.read(0, 1 << 20)
    for number in range(40):
        writer, reader = clients[number % 2], clients[1 - number % 2]
        for offset in (number * 8192, 4096, (4 << 20) + number * 512):
            data = disk.shadow.stamped(offset, 1024)
            writer.write(offset, data)
            disk.shadow.write(offset, data)
        (writer if number % 4 < 2 else reader).flush()
        disk.shadow.flush()
        for offset in (number * 8192, 4096, (4 << 20) + number * 512):
            findings = disk.shadow.check(offset, reader.read(offset, 1024))
            assert not findings, "\n".join(map(str, findings))
    for client in clients:
        client.close()
    disk.verify()

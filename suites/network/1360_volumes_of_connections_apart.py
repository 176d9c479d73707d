"""This case checks that connections that each have a volume never see the data of another one.

How: four connections to one export. They write, zero and discard in turn, at the same places, with
different data. Each reads what it has written, and the whole of its volume in the end. Then some
of them end, by DISC or without a word, and the others still read their own data.
Guards: wrong-volume-or-lun.
"""

from qbdcheck.kit import case
from qbdcheck.kit.nbd_io import NbdIo
from qbdcheck.kit.related_requests import RelatedRequests

KIB, CONNECTIONS, STEPS = 1 << 10, 4, 200


@case(
    groups="rw zero discard concurrent quick",
    requires="nbd volume_per_connection",
    basis=("MUST: NBD, NBD_CMD_WRITE", "MUST: NBD, NBD_CMD_READ", "POLICY: discard-old-or-zero"),
)
def test(new_disk, nbd, seed):
    disk = new_disk(768 * KIB, prefill=False)
    random = seed.stream("requests")
    ios = [
        NbdIo(nbd(disk), disk.shadow.copy(writer=number), f"connection {number}")
        for number in range(CONNECTIONS)
    ]
    related = [RelatedRequests(random, disk.size, io) for io in ios]
    for _ in range(STEPS):
        number = random.randrange(CONNECTIONS)
        io = ios[number]
        io.read(*related[number].around(*related[number].change(io)))
    for io in ios:
        io.read(0, disk.size)
    ios[0].close()
    ios[1].client.sock.close()
    for io in ios[2:]:
        io.read(0, disk.size)
        io.close()

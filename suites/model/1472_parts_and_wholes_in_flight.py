"""This case checks that writes in flight to one block lose nothing that only one of them covers.

How: one connection writes whole blocks, a second one parts of them, a third one reads them, all at
the same time. Where two writes overlap, either may win; all other bytes are those of their only
writer. At rest, every connection reads the same: the newest data.
Guards: rmw-undoes-whole-write, fill-races-write.
"""

from qbdcheck.kit import case
from qbdcheck.kit.nbd import Command
from qbdcheck.kit.nbd_requests import widened

KIB, BLOCK, ROUNDS = 1 << 10, 4096, 60
WHOLES = (BLOCK, BLOCK, 2 * BLOCK, 64 * KIB)
PARTS = (1, 100, 512, 512, 1024, 5000)


@case(groups="concurrent rw quick", requires="nbd multi_conn", basis="MUST: NBD, NBD_CMD_WRITE")
def test(new_disk, nbd, nbd_io, seed):
    disk = new_disk(256 * KIB)
    random = seed.stream("places")
    with nbd(disk) as wholes, nbd(disk) as parts, nbd(disk) as reads, nbd_io(disk) as io:
        minimum = io.block_sizes[0]
        for _ in range(ROUNDS):
            length = random.choice(WHOLES)
            start = random.randrange(disk.size // length) * length
            around = start, length
            places = [around]
            for _ in range(random.choice((1, 1, 2))):
                part = random.choice(PARTS)
                at = max(0, start + random.randrange(-min(part, start), length))
                at, part = widened(at, part, minimum)
                places.append((at, min(part, disk.size - at)))
            together(disk.shadow, wholes, parts, reads, places, random)
            for one in (wholes, parts, reads):
                io.client, kept = one, io.client
                io.read(*around)
                io.client = kept
        io.read(0, disk.size)
    disk.verify()


def together(shadow, wholes, parts, reads, places, random):
    """Write the first place by one client, the others by the second; read it meanwhile."""
    writes = [(at, shadow.stamped(at, length)) for at, length in places]
    sends = [(wholes, Command.WRITE, *writes[0]), (reads, Command.READ, places[0][0], b"")]
    sends += [(parts, Command.WRITE, at, data) for at, data in writes[1:]]
    random.shuffle(sends)
    cookies = []
    for client, command, at, data in sends:
        length = len(data) or places[0][1]
        cookies.append((client, client.send_request(command, at, length, payload=data)))
    for client, cookie in cookies:
        reply = client.receive_reply(cookie)
        assert not reply.error, f"a request in flight with others failed: {reply.message}"
    shadow.concurrent(writes)

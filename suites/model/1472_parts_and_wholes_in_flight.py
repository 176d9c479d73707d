"""This case checks that changes in flight to one block lose nothing that only one of them covers.

How: one connection writes, zeroes or discards whole blocks, a second one writes parts of them, a
third one reads them, all at the same time. A block is from 4 KiB to 192 KiB long, and in half of
the rounds nothing else around it has data. Where two changes overlap, either may win; all other
bytes are those of their only change. At rest, every connection reads the same: the newest data.
Guards: rmw-undoes-whole-write, fill-races-write, rmw-undoes-zeroes.
"""

from oracles.contents import Change
from oracles.stamps import as_array
from qbdcheck.kit import case
from qbdcheck.kit.nbd import Command, TransmissionFlag
from qbdcheck.kit.nbd_requests import widened

KIB, BLOCK, ROUNDS = 1 << 10, 4096, 60
WHOLES = (BLOCK, BLOCK, 2 * BLOCK, 64 * KIB)
PARTS = (1, 100, 512, 512, 1024, 5000)
LONG = (192 * KIB,), (70_000, 130_000)
"""Blocks of several units of storage, and parts of them."""
WORDS = {Command.WRITE: "write", Command.WRITE_ZEROES: "write zeroes", Command.TRIM: "discard"}


@case(
    groups="concurrent rw zero discard quick",
    requires="raw_requests multi_conn",
    basis=("MUST: NBD, NBD_CMD_WRITE", "POLICY: discard-old-or-zero"),
)
def test(new_disk, nbd, nbd_io, seed):
    disk = new_disk(256 * KIB)
    random = seed.stream("places")
    with nbd(disk) as wholes, nbd(disk) as parts, nbd(disk) as reads, nbd_io(disk) as io:
        minimum, _, longest = io.block_sizes
        step = max(BLOCK, minimum)
        kinds = [Command.WRITE]
        if io.offers(TransmissionFlag.SEND_WRITE_ZEROES):
            kinds.append(Command.WRITE_ZEROES)
        if io.offers(TransmissionFlag.SEND_TRIM):
            kinds.append(Command.TRIM)
        for _ in range(ROUNDS):
            wholes_of, parts_of = LONG if random.random() < 0.25 else (WHOLES, PARTS)
            length = min(widened(0, random.choice(wholes_of), minimum)[1], longest)
            start = random.randrange(
                0, disk.size - length + 1, length if wholes_of is WHOLES else step
            )
            if random.random() < 0.5:
                leave_alone(io, start, length)
            sends = [(reads, Command.READ, start, length)]
            sends.append((wholes, random.choice(kinds), start, length))
            for _ in range(random.choice((1, 1, 2))):
                part = random.choice(parts_of)
                at = max(0, start + random.randrange(-min(part, start), length))
                at, part = widened(at, part, minimum)
                part = min(part, disk.size - at, longest)
                sends.append((parts, Command.WRITE, at, part))
            random.shuffle(sends)
            together(disk.shadow, sends)
            for one in (wholes, parts, reads):
                kept, io.client = io.client, one
                io.read(start, length)
                io.client = kept
        io.read(0, disk.size)
    disk.verify()


def leave_alone(io, start, length):
    """Empty the 64 KiB around a place, and write the place: no other data keeps their storage."""
    around = start // (64 * KIB) * 64 * KIB
    if io.offers(TransmissionFlag.SEND_TRIM):
        io.discard(around, 64 * KIB)
    if io.offers(TransmissionFlag.SEND_WRITE_ZEROES):
        io.write_zeroes(around, 64 * KIB)
    io.write(start, length)


def together(shadow, sends):
    """Send requests on their connections, wait for all replies, and report the changes."""
    cookies, changes = [], []
    for client, command, at, length in sends:
        data = shadow.stamped(at, length) if command == Command.WRITE else b""
        cookies.append((client, client.send_request(command, at, length, payload=data)))
        if command != Command.READ:
            payload = as_array(data) if data else None
            change = Change(at, length, payload, 0, maybe=command == Command.TRIM)
            changes.append((WORDS[command], change, None))
    for client, cookie in cookies:
        reply = client.receive_reply(cookie)
        assert not reply.error, f"a request in flight with others failed: {reply.message}"
    shadow.in_flight(changes)

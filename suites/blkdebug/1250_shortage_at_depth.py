"""This case checks that a shortage that heals costs only the requests that report it, at depth.

How: 96 requests in flight, again and again, while the disk below fails some of them with ENOMEM,
EAGAIN and ENOSPC, a limited number of times. Each request is answered. One that fails left old or
new data, each other one is carried out, none hangs, and after the shortage all succeed.
Guards: shortage-loses-neighbour, async-error-ignored.
"""

from qbdcheck.kit import case
from qbdcheck.kit.nbd import Command
from qbdcheck.kit.request_errors import RequestFailed

DEPTH, SLOT, BATCHES = 96, 16 << 10, 3


@case(
    groups="inject errors concurrent",
    requires="nbd flush",
    basis="MUST: NBD, Error values",
)
def test(new_disk, nbd_io, rules, target, seed):
    size = SLOT * target.scale
    disk = new_disk(DEPTH * size)
    armed = rules.on(disk)
    random = seed.stream("requests")
    for errno in ("ENOMEM", "EAGAIN", "ENOSPC"):
        rule = armed.add({
            "event": "none", "iotype": ["read", "write"], "errno": errno, "every": 5, "count": 40,
        })  # fmt: skip
        with nbd_io(disk) as io:
            io.client.sock.settimeout(20)
            failed = sum(batch(io, random, size) for _ in range(BATCHES))
            fired = armed.seen(rule).fired
            assert failed <= fired, f"{failed} requests failed, of which {fired} by {errno}"
            armed.remove(rule)
            for number in range(2):
                seen = batch(io, random, size)
                assert not seen, f"batch {number} after the {errno}: {seen} requests failed"
            for slot in range(DEPTH):
                io.read(slot * size, size)
            io.flush()
    disk.verify()


def batch(io, random, size):
    """Send writes and reads of all slots, and wait for all; return how many failed."""
    for slot in random.sample(range(DEPTH), DEPTH):
        command = random.choice((Command.WRITE, Command.WRITE, Command.READ))
        lengths = (size // 4, size // 2, size) if command is Command.WRITE else (1024,)
        length = max(random.choice(lengths), io.block_sizes[0])
        io.send(command, slot * size, min(length, io.block_sizes[2]))
    failed = 0
    while io.in_flight:
        try:
            io.finish()
        except RequestFailed:
            failed += 1
    return failed

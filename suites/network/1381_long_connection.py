"""This case checks that a connection works after more requests than 16 bits can count.

How: 66,000 reads on one connection, many in flight, then writes, flushes and reads of all kinds on
the same connection. Each read gets one reply with its own cookie and data, and another connection
sees what was written at the end.
Guards: tag-wraps.
"""

from qbdcheck.kit import case, judge
from qbdcheck.kit.nbd import SIMPLE_REPLY_MAGIC, Command, ReplyMode, TransmissionFlag
from qbdcheck.kit.nbd import client_replies as wire
from qbdcheck.kit.nbd import messages as m

REQUESTS, BATCH, LENGTH = 66_000, 500, 512


@case(
    groups="protocol rw concurrent slow",
    requires="raw_requests",
    limit_s=300,
    basis="MUST: NBD, Transmission",
)
def test(new_disk, nbd_io):
    disk = new_disk("1M")
    with nbd_io(disk, structured=False, extended=False) as io:
        length = max(LENGTH, io.block_sizes[0])
        for first in range(0, REQUESTS, BATCH):
            reads(io.client, disk, first, length)
        for number in range(32):
            io.send(Command.WRITE, number * 32768, 4096)
        io.finish_all()
        if io.offers(TransmissionFlag.SEND_FLUSH):
            io.flush()
        io.write(8192, 12288)
        io.read(0, disk.size)
    disk.verify()


def reads(client, disk, first, length):
    """Send a batch of reads, and check all replies."""
    slots = disk.size // length
    places = {number: number % slots * length for number in range(first, first + BATCH)}
    client.send(
        b"".join(
            wire.request(ReplyMode.SIMPLE, 0, Command.READ, number, at, length)
            for number, at in places.items()
        )
    )
    for _ in range(BATCH):
        magic, error, cookie = m.SIMPLE_REPLY.unpack(client.receive(m.SIMPLE_REPLY.size))
        assert magic == SIMPLE_REPLY_MAGIC, f"request {first} and on: a reply has {magic:#x}"
        at = places.pop(cookie, None)
        assert at is not None, f"after {first} requests: a reply with the cookie {cookie}"
        what = f"READ of {length} bytes at {at}, request {cookie} of the connection"
        assert not error, f"{what}: errno {error}"
        data = client.receive(length)
        if cookie % 64 == 0:
            judge(disk.shadow, at, data, what)

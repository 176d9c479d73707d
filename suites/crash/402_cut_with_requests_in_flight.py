"""This case checks that a power cut with 64 writes in flight leaves each sector old or new.

How: the writes are sent, some are answered and some are not, and power fails. What was flushed
before is there, except where writes in flight overlap it.
Guards: torn-write, destage-reorder.
Related: merge-after-issue, journal-slot-overlap.
"""

from qbdcheck.kit import case
from qbdcheck.kit.nbd import Command
from qbdcheck.kit.server_ends import cut, rounds

COUNT, LENGTH = 64, 12 << 10


@case(
    groups="concurrent flush crash protocol",
    requires="raw_requests flush sudden_end",
    basis=("MUST: NBD, NBD_CMD_FLUSH", "POLICY: sector-writes-are-atomic"),
)
def test(new_disk, nbd_io, target, seed):
    unit = 4096 * target.scale
    length = min(LENGTH * target.scale, target.maximum_block)
    disk = new_disk((2 << 20) * target.scale)
    shadow = disk.shadow
    random = seed.stream("places")
    for round_ in rounds(6):
        io = nbd_io(disk)
        io.write(0, 1 << 20)
        io.flush()
        client, sent = io.client, []  # the writes overlap, hence past NbdIo
        for _ in range(COUNT):
            offset = random.randrange(0, disk.size - length) & -unit
            data = shadow.stamped(offset, length)
            cookie = client.send_request(Command.WRITE, offset, length, payload=data)
            sent.append((cookie, offset, data))
        for cookie, *_ in sent[: random.randrange(0, COUNT)]:
            error = client.receive_reply(cookie).error
            assert not error, f"a WRITE of {length} bytes in flight with 63 others: errno {error}"
        shadow.concurrent([(offset, data) for _, offset, data in sent])
        cut(disk, seed + round_)
        client.sock.close()
        disk.verify()

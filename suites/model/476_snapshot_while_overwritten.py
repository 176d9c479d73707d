"""This case checks that a snapshot stays as it is while its volume is first overwritten.

How: for each block of a snapshot a read of it is sent, then a write to the same block of the
volume, and only then is the reply awaited; likewise the other way round, and reads of 64 KiB round
the block. Each read must return what the volume held when the snapshot was taken, now and later.
Guards: snapshot-not-point-in-time, snapshot-map-under-io, discard-exposes-backing.
"""

from qbdcheck.kit import case
from qbdcheck.kit.nbd import Command

BLOCK, UNIT = 4096, 65536


@case(groups="model snapshot concurrent quick", requires="nbd snapshot_read")
def test(new_disk, nbd, seed):
    disk = new_disk("1M")
    for name in ("first", "second"):
        snapshot = disk.snapshot(name)
        blocks = list(range(0, disk.size, BLOCK))
        seed.stream(name).shuffle(blocks)
        with nbd(disk) as writer, nbd(snapshot) as reader:
            unit = min(UNIT, reader.longest)
            for number, offset in enumerate(blocks):
                length = 512 if number % 3 == 0 else BLOCK
                data = disk.shadow.stamped(offset, length)
                start, size = (offset, BLOCK) if number % 4 else (offset // unit * unit, unit)
                size = min(size, disk.size - start)
                if number % 2:
                    asked = reader.send_request(Command.READ, start, size)
                    writer.write(offset, data)
                else:
                    sent = writer.send_request(Command.WRITE, offset, length, payload=data)
                    asked = reader.send_request(Command.READ, start, size)
                    assert not writer.receive_reply(sent).error
                disk.shadow.write(offset, data)
                reply = reader.receive_reply(asked)
                assert not reply.error
                snapshot.judge(start, reply.data)
            snapshot.judge(0, reader.read(0, disk.size))
            disk.judge(0, writer.read(0, disk.size))

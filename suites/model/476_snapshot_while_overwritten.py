"""This case checks that a snapshot stays as it is while its volume is first overwritten.

How: for each block of a snapshot a read of it is sent, then a write to the same block of the
volume, and only then is the reply awaited; likewise the other way round, and reads of 64 KiB around
the block. Each read must return what the volume held when the snapshot was taken.
Guards: snapshot-not-point-in-time.
Related: snapshot-map-under-io, discard-exposes-backing.
"""

from qbdcheck.kit import case
from qbdcheck.kit.nbd import Command

BLOCK, UNIT = 4096, 65536


@case(
    groups="model snapshot concurrent quick",
    requires="raw_requests snapshot_read",
    basis="POLICY: snapshot-is-one-moment",
)
def test(new_disk, nbd_io, seed):
    disk = new_disk("1M")
    for name in ("first", "second"):
        snapshot = disk.snapshot(name)
        blocks = list(range(0, disk.size, BLOCK))
        seed.stream(name).shuffle(blocks)
        with nbd_io(disk) as writer, nbd_io(snapshot) as reader:
            unit = min(UNIT, reader.client.longest)
            for number, offset in enumerate(blocks):
                length = 512 if number % 3 == 0 else BLOCK
                start, size = (offset, BLOCK) if number % 4 else (offset // unit * unit, unit)
                size = min(size, disk.size - start)
                if number % 2:
                    reader.send(Command.READ, start, size)
                    writer.write(offset, length)
                else:
                    writer.send(Command.WRITE, offset, length)
                    reader.send(Command.READ, start, size)
                    writer.finish_all()
                reader.finish_all()
            reader.read(0, disk.size)
            writer.read(0, disk.size)

"""This case checks that a clone that is written immediately loses none of its parent's data.

How: from its end to its start, faster than a background copy, the clone is written, zeroed and
discarded in pieces of 512 bytes to 96 KiB, aligned to no unit of such a copy. Two connections
alternate, and read around each piece. At the end everything is read, and again when a snapshot of
the clone shows that a copy has ended.
Guards: rebuild-granularity-mismatch, iov-offset-ignored, clone-copyup-lost.
"""

from qbdcheck.kit import case
from qbdcheck.kit.nbd_requests import widened

SECTOR, STEP = 512, 48 << 10


@case(
    groups="model snapshot quick",
    requires="raw_requests multi_conn clone write_zeroes discard",
    basis="POLICY: clone-is-independent",
)
def test(new_disk, nbd_io, seed):
    disk = new_disk("4M")
    random = seed.stream("pieces")
    clone = disk.snapshot("base").clone("copy")
    with nbd_io(clone) as one, nbd_io(clone) as other:
        unit = max(SECTOR, one.block_sizes[0])
        step = widened(0, STEP, unit)[1]
        for number, start in enumerate(range(disk.size - step, 0, -step)):
            client, reader = (one, other) if number % 2 else (other, one)
            offset = start + random.randrange(step // unit) * unit
            length = random.choice((1, 7, 8, 65, 129, 192)) * SECTOR
            length = min(-(-length // unit) * unit, disk.size - offset)
            kind = random.choice(("write", "write", "write", "zero", "discard"))
            if kind == "write":
                client.write(offset, length)
            elif kind == "zero":
                client.write_zeroes(offset, length)
            else:
                client.discard(offset, length)
            reader.read(start, step)
        one.read(0, clone.size)
        one.flush()
        later = clone.snapshot("later")
    later.verify()
    clone.verify()
    disk.verify()

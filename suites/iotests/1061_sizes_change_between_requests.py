"""This case checks that a resize changes nothing before the smaller of the two ends.

How: random changes that have to do with each other around the end of a volume, mostly not flushed;
then it grows or shrinks by a sector, a few blocks, a unit or more; then changes across the old end.
After each resize a new connection reads everything: old data, and zeroes where the volume grew.
Guards: grow-drops-dirty-tail, straddle-old-end.
Related: shrink-keeps-part-unit.
"""

from qbdcheck.kit import case
from qbdcheck.kit.expectations import expect_bytes
from qbdcheck.kit.nbd_io import minimum_block
from qbdcheck.kit.nbd_requests import widened
from qbdcheck.kit.related_requests import RelatedRequests
from qbdcheck.kit.volume_limits import size_unit

KIB, ROUNDS, WINDOW = 1 << 10, 15, 128 << 10
STEPS = (512, 4096, 20 * KIB, 64 * KIB, 300 * KIB)


@case(
    groups="size rw zero discard quick",
    requires="raw_requests resize",
    basis="MUST: NBD, NBD_CMD_READ",
)
def test(new_disk, nbd_io, target, seed):
    random = seed.stream("sizes")
    unit = max(size_unit(target), minimum_block(new_disk("64K")))
    disk = new_disk(widened(0, 700 * KIB, unit)[1])
    for _ in range(ROUNDS):
        old = disk.size
        with nbd_io(disk) as io:
            base = widened(old - WINDOW, 1, io.block_sizes[0])[0]
            related = RelatedRequests(random, old - base, io)
            for _ in range(random.choice((1, 3, 8))):
                related.change(io, base)
            if random.random() < 0.2:
                io.flush()
        step = widened(0, random.choice(STEPS), unit)[1]
        is_larger = random.random() < 0.6 or old < 512 * KIB + step
        disk.resize(old + step if is_larger else old - step)
        with nbd_io(disk) as io:
            expect_bytes(io.client.size, disk.size, f"{disk.name}, resized from {old} bytes")
            io.read(0, disk.size)
            edge = min(old, disk.size)
            start, length = widened(edge - 3000, 6000, io.block_sizes[0])
            io.write(start, min(length, disk.size - start))
            io.read(max(0, edge - WINDOW), disk.size - max(0, edge - WINDOW))
    disk.verify()

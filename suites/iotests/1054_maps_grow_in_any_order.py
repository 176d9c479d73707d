"""This case checks that the map of a volume loses no entry, in whatever order it grows.

How: units of 64 KiB are first written in descending order, from the inside out, and at random; some
are discarded and written again. All are read after each stage. On a volume of more than 16 TiB,
the blocks around the numbers 2^31 and 2^32 are written and read.
Guards: map-split-loses-entry, map-magic-index-is-empty, map-index-wraps, map-entry-shifted,
alloc-map-rounding-reads-zero.
"""

from qbdcheck.kit import case
from qbdcheck.kit.volume_limits import first_possible

UNIT, BLOCK, COUNT = 65536, 4096, 100
SIZES = (17 << 40, *(1 << bits for bits in range(43, 22, -2)))


@case(groups="rw size quick", requires="raw_requests", basis="MUST: NBD, NBD_CMD_READ")
def test(new_disk, nbd_io, target, seed, log):
    random = seed.stream("order")
    orders = {
        "descending": range(COUNT - 1, -1, -1),
        "inside out": [COUNT // 2 + (turn // 2 + 1) * (-1) ** turn for turn in range(COUNT - 4)],
        "random": random.sample(range(COUNT), COUNT),
    }
    for name, order in orders.items():
        disk = new_disk(COUNT * UNIT, prefill=False)
        with nbd_io(disk) as io:
            for step, unit in enumerate(order):
                io.write(unit * UNIT + BLOCK * random.randrange(16), BLOCK)
                if step % 40 == 39:
                    io.read(0, disk.size)
            log(name)
            io.read(0, disk.size)
        with nbd_io(disk) as io:
            io.read(0, disk.size)
    disk = first_possible(target, SIZES, log)
    with nbd_io(disk) as io:
        places = [(1 << bits) * unit for bits in (31, 32) for unit in (512, BLOCK)]
        places = [at for at in places if at + BLOCK <= disk.size]
        for at in places:
            io.write(at - 2 * BLOCK, 3 * BLOCK)
        for at in places:
            io.read(at - BLOCK, BLOCK)
            io.read(at - 2 * BLOCK, 3 * BLOCK)

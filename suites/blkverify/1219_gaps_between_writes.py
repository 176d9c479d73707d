"""This case checks that writes that fill the gaps between others are kept, without a flush between.

How: 1024 blocks are written in several orders, each on a connection of its own: first every second
block and then the gaps, from both ends to the middle, and backwards. Then some writes reach across
two blocks each. A server that joins unflushed writes, or that counts them, does so a thousand
times. Everything is read, flushed, and read again over another connection.
Guards: bridging-write-leaks-slot.
Related: stream-not-flushed, combined-writes-invisible.
"""

from qbdcheck.kit import case

BLOCKS = 1024
ORDERS = {
    "every second block, then the gaps": [*range(0, BLOCKS, 2), *range(1, BLOCKS, 2)],
    "from both ends": [at // 2 if at % 2 else BLOCKS - 1 - at // 2 for at in range(BLOCKS)],
    "backwards": [*reversed(range(BLOCKS))],
}


@case(
    groups="verify quick",
    requires="raw_requests",
    basis=("MUST: NBD, NBD_CMD_WRITE", "MUST: NBD, NBD_CMD_READ"),
)
def test(new_disk, nbd_io, log):
    disk = new_disk("5M")
    for name, order in ORDERS.items():
        with nbd_io(disk) as io:
            block = max(4096, io.block_sizes[0])
            places = [at for at in order if (at + 2) * block <= disk.size]
            for at in places:
                io.write(at * block, block)
            for at in places[:: max(1, len(places) // 64)]:
                io.write(at * block + block // 2, block)
            log(f"{name}: {len(places)} writes of {block} bytes")
            check(io, disk)
            io.flush()
        with nbd_io(disk) as io:
            check(io, disk)


def check(io, disk):
    for offset in range(0, disk.size, 1 << 20):
        io.read(offset, min(1 << 20, disk.size - offset))

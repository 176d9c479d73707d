"""This case checks that each flush makes everything durable, also after 65536 of them.

How: 65535 flushes, then a write, a flush and a power cut; the same with 65536 and 65537 flushes in
all since the start of the server. Between the flushes a sector is written now and then.
Guards: flush-noop.
Related: flush-count-wraps.
"""

from qbdcheck.kit import case

MOST, SLOT, SLOTS = 1 << 16, 4096, 32


@case(
    groups="flush crash slow",
    requires="raw_requests flush crash",
    basis="MUST: NBD, NBD_CMD_FLUSH",
    limit_s=200,
)
def test(new_disk, nbd_io, target, seed):
    disk = new_disk(SLOTS * SLOT)
    random = seed.stream("places")
    for round_, count in enumerate((MOST // target.scale - 1, 0, 0)):
        with nbd_io(disk) as io:
            unit = max(512, io.block_sizes[0])
            for number in range(count):
                if number % 64 == 0:
                    io.write(random.randrange(disk.size // unit) * unit, unit)
                io.flush()
            io.write(random.randrange(disk.size // unit) * unit, unit)
            io.flush()
            disk.backend.crash(seed=seed + round_)
        disk.verify()

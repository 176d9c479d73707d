"""This case checks that each flush makes everything durable, however many flushes came before it.

How: flushes until almost 128, 256, 512 and 1024 of them are done. Around each of these counts: a
few writes, a flush, and a power cut at once, eight times. Nothing is pending at a cut: the newest
data must be there. Between the counts sectors are written now and then.
Guards: flush-count-wraps, flush-noop, flush-after-recovery-skipped, log-replayed-twice.
"""

from itertools import islice

from qbdcheck.kit import case
from qbdcheck.kit.server_ends import cut, rounds

COUNTS, CUTS, SIZE = (128, 256, 512, 1024), 8, 16384


@case(
    groups="flush crash quick",
    requires="raw_requests flush sudden_end",
    basis="MUST: NBD, NBD_CMD_FLUSH",
)
def test(new_disk, nbd_io, target, seed):
    disk = new_disk(max(SIZE, 2 * target.minimum_block), prefill=False)
    random = seed.stream("places")
    done, cuts = 0, rounds(CUTS * len(COUNTS))
    for count in COUNTS:
        with nbd_io(disk) as io:
            while done < count - CUTS // 2:
                if done % 50 == 0:
                    write(io, random, disk)
                io.flush()
                done += 1
        for number in islice(cuts, CUTS):
            with nbd_io(disk) as io:
                io.read(0, disk.size)
                write(io, random, disk)
                io.flush()
                done += 1
                cut(disk, seed + number)
    disk.verify()


def write(io, random, disk):
    unit = max(512, io.block_sizes[0])
    for place in random.sample(range(disk.size // unit), min(8, disk.size // unit)):
        io.write(place * unit, unit)

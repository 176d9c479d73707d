"""This case checks that thousands of related requests, of all kinds, leave what they must.

How: as 1057, and longer: volumes of several sizes, one of them with 2 GiB of which a few windows
are used that are powers of two apart; writes, zeroes, discards, flushes and hints, repeated, nested
and in pieces, from three connections. After each change one of them reads what is around it, and
now and then asks for its block status: what is called zero must read as zeroes.
Guards: double-discard-frees-twice, cache-tag-cut, send-ring-wraps, map-index-wraps.
"""

from qbdcheck.kit import case
from qbdcheck.kit.block_status import zero_reads_as_zero
from qbdcheck.kit.nbd_requests import widened
from qbdcheck.kit.related_requests import RelatedRequests

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
STEPS = 600
SIZES = (320 * KIB, 768 * KIB, 2 * MIB)


@case(
    groups="rw zero discard status slow",
    requires="raw_requests multi_conn",
    basis=("MUST: NBD, NBD_CMD_WRITE", "MUST: NBD, NBD_CMD_READ", "POLICY: discard-old-or-zero"),
)
def test(new_disk, nbd_io, seed):
    for size in SIZES:
        random = seed.stream(str(size))
        play(new_disk(size), nbd_io, random, [0], size)
    disk = new_disk(2 * GIB, prefill=False)
    starts = [0, *(1 << bits for bits in range(20, 31))]
    play(disk, nbd_io, seed.stream("far"), starts, 512 * KIB)


def play(disk, nbd_io, random, starts, size):
    """Change windows of the volume that begin at ``starts``, in bytes; read and ask between."""
    with nbd_io(disk) as one, nbd_io(disk) as two, nbd_io(disk) as three:
        clients = (one, two, three)
        for step in range(STEPS):
            if step % 100 == 0:
                related = RelatedRequests(random, size, one)
            io = random.choice(clients)
            start = random.choice(starts)
            at, length = related.change(io, start)
            other = random.choice(starts)
            around = related.around(at, length)
            random.choice(clients).read(start + around[0], around[1])
            random.choice(clients).read(other + around[0], min(around[1], 64 * KIB))
            if random.random() < 0.02:
                one.flush()
            if random.random() < 0.1:
                low = max(0, at - random.choice((0, 512, 3000)))
                place = widened(low, min(length, 64 * KIB) + 8 * KIB, one.block_sizes[0])
                first = start + place[0]
                end = first + min(place[1], size - place[0])
                zero_reads_as_zero(random.choice(clients), first, end)
        for start in starts:
            one.read(start, size)

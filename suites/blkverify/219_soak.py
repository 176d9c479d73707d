"""This case checks that tens of thousands of mixed requests give the results of a raw reference.

How: all kinds of requests in flight on a sparse volume: at its start, across 4 GiB and at its odd
end, half of them across an edge. Each result is compared with that of a plain file, and every byte
of these places after each round. Rare errors get many chances here.
Guards: phantom-write, misdirected-write, silent-bit-flip, transient-becomes-fatal,
status-hole-over-dirty, offset-32bit-wrap, extents-unsorted, zero-flags-lost.
"""

from dataclasses import replace

from oracles.workload import Kind
from qbdcheck.kit import case
from qbdcheck.kit.nbd_io import minimum_block

KIB, MIB, ROUNDS, REQUESTS = 1 << 10, 1 << 20, 20, 2600
WINDOW = MIB + 192 * KIB
SIZE = (4 << 30) + 4 * MIB + 1234
STARTS = (0, (4 << 30) - 128 * KIB, SIZE - WINDOW)
EDGES = (64 * KIB, MIB, MIB + 512, 4 << 30, (4 << 30) + 64 * KIB, SIZE)
WEIGHTS = {"read": 5, "write": 6, "zero": 2, "discard": 1.5, "status": 4, "flush": 0.2}
SHORT = {"weights": WEIGHTS, "longest": 5000}
MIXES = (
    SHORT,
    {"weights": WEIGHTS, "longest": 160_000},
    SHORT,
    {"weights": {"read": 6, "write": 1, "status": 1}, "align": 66_048, "longest": 140_000},
)


@case(
    groups="rw verify status zero discard slow",
    requires="nbd raw_size",
    limit_s=400,
    basis="MUST: NBD, NBD_CMD_READ",
)
def test(new_disk, dual_write, seed):
    disk = new_disk(SIZE, prefill=False)
    minimum = minimum_block(disk)
    if SIZE % minimum:
        disk = new_disk(SIZE // minimum * minimum, prefill=False)
    pair = dual_write(disk)
    random = seed.stream("workload")
    for round_ in range(ROUNDS):
        mix = MIXES[round_ % len(MIXES)]
        batches = pair.workload(random, REQUESTS, depth=8, hot=0, **mix)
        pair.run([placed(batch, random, disk.size, minimum) for batch in batches])
        for start in STARTS:
            pair.verify(start // minimum * minimum, WINDOW // minimum * minimum)
        pair.must_find_none(pair.mismatches)


def placed(batch, random, size, minimum):
    """Return the requests of a batch at places of the windows."""
    return tuple(moved(request, random, size, minimum) for request in batch)


def moved(request, random, size, minimum):
    """Return the request at a place of the windows, half of the time across an edge."""
    if request.kind is Kind.FLUSH or (request.kind is Kind.READ and random.random() < 0.2):
        return request  # mostly at a place that was never written
    if random.random() < 0.5:
        offset = random.choice(EDGES) - random.randrange(request.length + 1)
    else:
        offset = random.choice(STARTS) + request.offset % (WINDOW - request.length)
    offset = max(0, min(offset, size - request.length))
    return replace(request, offset=offset // minimum * minimum)

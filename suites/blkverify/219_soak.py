"""This case checks that tens of thousands of mixed requests get what a raw reference gives.

How: all kinds of requests in flight together on a sparse volume: anywhere at its start, across
4 GiB and at its odd end, and half of them astride an edge; each answer compared with that of a
plain file, and every byte of these places after each round. What goes wrong once in a thousand
times has many occasions here.
Guards: phantom-write, misdirected-write, silent-bit-flip, transient-becomes-fatal,
status-hole-over-dirty, offset-32bit-wrap, extents-unsorted, zero-flags-lost.
"""

from dataclasses import replace

from oracles.workload import Kind
from qbdcheck.kit import case

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


@case(groups="rw verify status zero discard slow", requires="nbd raw_size", limit_s=400)
def test(new_disk, dual_write, seed):
    pair = dual_write(new_disk(SIZE, prefill=False))
    chance = seed.stream("workload")
    for round_ in range(ROUNDS):
        mix = MIXES[round_ % len(MIXES)]
        batches = pair.workload(chance, REQUESTS, depth=8, hot=0, **mix)
        pair.run([tuple(placed(one, chance) for one in batch) for batch in batches])
        for start in STARTS:
            pair.verify(start, WINDOW)
        assert not pair.mismatches, "\n".join(map(str, pair.mismatches))


def placed(request, chance):
    """Return the request at a place of the windows, as often as not astride an edge."""
    if request.kind is Kind.FLUSH or (request.kind is Kind.READ and chance.random() < 0.2):
        return request  # mostly at what was never written
    if chance.random() < 0.5:
        offset = chance.choice(EDGES) - chance.randrange(request.length + 1)
    else:
        offset = chance.choice(STARTS) + request.offset % (WINDOW - request.length)
    return replace(request, offset=max(0, min(offset, SIZE - request.length)))

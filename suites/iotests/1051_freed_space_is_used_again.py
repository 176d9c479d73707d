"""This case checks that discards and zeroes change their range alone, also when space is reused.

How: a volume of which half was written. Ranges are discarded and zeroed in whole clusters, in parts
of blocks, in neighbours with small gaps; then come writes to the same place, to others, to clusters
that were never written, with and without a flush between. All is read after a few more requests.
Guards: stale-punch-after-reuse, discard-behind-write, thin-reuse-shows-others,
zeroes-merged-over-gap, discard-length-negative, discard-overreach.
"""

from qbdcheck.kit import case
from qbdcheck.kit.nbd import CommandFlag, TransmissionFlag

CLUSTER, BLOCK, ROUNDS = 65536, 4096, 30
CLUSTERS = 4 * ROUNDS


@case(
    groups="discard zero rw quick",
    requires="raw_requests discard write_zeroes",
    basis=(
        "MUST: NBD, NBD_CMD_WRITE",
        "POLICY: discard-old-or-zero",
        "POLICY: fresh-volume-reads-zero",
    ),
)
def test(new_disk, nbd_io, seed):
    disk = new_disk(CLUSTERS * CLUSTER, prefill=False)
    random = seed.stream("places")
    with nbd_io(disk) as io:
        minimum = io.block_sizes[0]
        known = random.sample(range(CLUSTERS), CLUSTERS // 2)
        fresh = [one for one in range(CLUSTERS) if one not in known]
        for number in known:
            io.write(number * CLUSTER, CLUSTER)
        for _ in range(ROUNDS):
            at = random.choice(known) * CLUSTER
            free(io, random, at, minimum)
            if random.random() < 0.5 and io.offers(TransmissionFlag.SEND_FLUSH):
                io.flush()
            new = fresh.pop()
            other = random.choice(known) * CLUSTER
            places = [new * CLUSTER + BLOCK, at, other + 2 * BLOCK]
            for place in random.sample(places, 2):
                io.write(place, BLOCK)
            for place in (at, new * CLUSTER, other):
                io.read(place, CLUSTER)
            known.append(new)
        io.read(0, disk.size)
    disk.verify()


def free(io, random, at, minimum):
    """Discard or zero in the cluster at an offset, in one of several shapes."""
    shape = random.choice(("whole", "gap", "inside", "edges"))
    ask = random.choice((io.discard, io.write_zeroes))
    if shape == "whole":
        ask(at, CLUSTER)
    elif shape == "gap":
        for number in range(3):
            ask(at + number * 2 * BLOCK, BLOCK)
    elif shape == "inside" and minimum <= 512:
        ask(at + 9 * BLOCK + 1024, 512)
        ask(at + 12 * BLOCK + 512, 2048)
    elif minimum <= 512:
        ask(at + 512, CLUSTER - 1024)
    else:
        io.write_zeroes(at, CLUSTER, CommandFlag.NO_HOLE)

"""This case checks that flush and FUA hold for any request, also one that changes nothing new.

How: random changes, each in relation to an earlier one: the same again, now with FUA, inside it,
around it, directly behind it; the contents are stamps, zeroes, runs and blocks that resemble each
other. Between them come flushes. Then the power is cut, mostly with requests pending: each sector
must have the newest durable contents or later ones. The next round begins at once.
Guards: redundant-zeroes-skip-fua, equal-write-skips-fua.
"""

from qbdcheck.kit import case
from qbdcheck.kit.related_requests import RelatedRequests
from qbdcheck.kit.server_ends import cut, rounds

KIB, ROUNDS = 1 << 10, 12


@case(
    groups="flush crash zero discard quick",
    requires="raw_requests flush fua sudden_end",
    basis=(
        "MUST: NBD, NBD_CMD_FLUSH",
        "MUST: NBD, Command flags",
        "POLICY: sector-writes-are-atomic",
    ),
)
def test(new_disk, nbd_io, seed):
    disk = new_disk(512 * KIB)
    random = seed.stream("requests")
    for round_ in rounds(ROUNDS):
        with nbd_io(disk) as io:
            related = RelatedRequests(random, disk.size, io, fua=0.4)
            for _ in range(random.choice((10, 30, 60))):
                related.change(io)
                if random.random() < 0.05:
                    io.flush()
            for number in range(32):
                if number == 16 and round_ % 2:
                    io.flush()
                if number // 16 == round_ % 3 or round_ % 3 == 2:
                    related.pair_with_fua(io)
            cut(disk, seed + round_)
        with nbd_io(disk) as io:
            io.read(0, disk.size)
    disk.verify()

"""This case checks that a change is right whatever the requests before it did to its surroundings.

How: random writes, zeroes and discards from two connections. Each is made from an earlier one: it
is the same again, with or without FUA, in it, around it, directly before or behind it, across its
end, one unit away. Some come in pieces. The contents are stamps, zeroes, runs, and blocks that
resemble each other. After each change one of the connections reads the 64 KiB units around it.
Guards: double-discard-frees-twice, combined-writes-invisible, discard-counted-twice,
zero-tail-wrong-end, discard-drops-dirty-line, copy-in-words.
Related: zero-tail-not-stored, run-length-wraps.
"""

from qbdcheck.kit import case
from qbdcheck.kit.related_requests import RelatedRequests

KIB, STEPS = 1 << 10, 400


@case(
    groups="rw zero discard quick",
    requires="raw_requests multi_conn",
    basis=("MUST: NBD, NBD_CMD_WRITE", "MUST: NBD, NBD_CMD_READ", "POLICY: discard-old-or-zero"),
)
def test(new_disk, nbd_io, seed):
    disk = new_disk(768 * KIB)
    random = seed.stream("requests")
    with nbd_io(disk) as io, nbd_io(disk) as other:
        for step in range(STEPS):
            if step % 50 == 0:
                related = RelatedRequests(random, disk.size, io)
            place = related.change(random.choice((io, other)))
            random.choice((io, other)).read(*related.around(*place))
        io.read(0, disk.size)
    disk.verify()

"""This case checks that a request is right whatever was in its range before, and whatever comes
after it.

How: the first rows of a covering array. In each, an earlier request makes data, zeroes or a hole
that has some relation to the range of the main request: the same, overlapping, inside, around,
beside, a power of two away. Then come the main request, alone or among others in flight, and a
further one, from up to three connections. They have most pairs of classes of two dimensions; the
log says how many. What is around is read after each row.
Guards: deferred-write-overtaken, compressed-part-overwrite, double-discard-frees-twice,
thin-reuse-shows-others.
"""

from qbdcheck.kit import case
from qbdcheck.kit.covering.themes import RELATED, walk


@case(
    groups="rw zero discard verify quick",
    basis=("MUST: NBD, NBD_CMD_WRITE", "MUST: NBD, NBD_CMD_READ", "POLICY: discard-old-or-zero"),
)
def test(nbd_io, target, seed, log, not_run):
    walk(RELATED, target, nbd_io, seed, log, rows=220, not_run=not_run)

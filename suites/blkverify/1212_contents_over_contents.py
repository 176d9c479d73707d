"""This case checks that what a write stores does not depend on what was there, or on what else was
written.

How: the first rows of a covering array: writes of stamps, zeroes, equal blocks, the data that is
there, with one byte changed, data of another place, and data with the same checksum, over data,
zeroes and holes; then a further request in the same range. They have most pairs of classes of two
dimensions; the log says how many. What is around is read after each row.
Guards: rmw-edge-cache-stale, dedup-prefix-hash, compressed-block-grows, shared-zero-page-written.
"""

from qbdcheck.kit import case
from qbdcheck.kit.covering.themes import CONTENTS, walk


@case(
    groups="rw zero discard verify quick",
    basis=("MUST: NBD, NBD_CMD_WRITE", "MUST: NBD, NBD_CMD_READ", "POLICY: discard-old-or-zero"),
)
def test(nbd_io, target, seed, log, not_run):
    walk(CONTENTS, target, nbd_io, seed, log, rows=200, not_run=not_run)

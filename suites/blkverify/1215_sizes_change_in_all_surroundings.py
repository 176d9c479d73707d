"""This case checks that a resize loses nothing and brings nothing back, whatever requests come
before and after it.

How: the first rows of a covering array: an earlier request near the end of the volume, the main one
and a further one, with growth, shrinking, or both between them. They have most pairs of classes of
two dimensions; the log says how many. What is around is read after each row, with a new connection.
Guards: grow-drops-dirty-tail, straddle-old-end, shrink-keeps-part-unit, grow-exposes-old-data.
"""

from qbdcheck.kit import case
from qbdcheck.kit.covering.themes import RESIZES, walk


@case(
    groups="size zero discard quick",
    requires="raw_requests resize",
    basis=("MUST: NBD, NBD_CMD_READ", "POLICY: grown-part-reads-zero"),
)
def test(nbd_io, target, seed, log, not_run):
    walk(RESIZES, target, nbd_io, seed, log, rows=110, not_run=not_run)

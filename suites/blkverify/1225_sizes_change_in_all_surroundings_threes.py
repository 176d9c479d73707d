"""This case checks that a resize loses nothing and brings nothing back, whatever requests come
before and after it, in all threes.

How: as 1215, with all rows. Each pair of classes occurs, and each triple of those dimensions that
matter together.
Guards: grow-drops-dirty-tail, straddle-old-end, shrink-keeps-part-unit, grow-exposes-old-data.
"""

from qbdcheck.kit import case
from qbdcheck.kit.covering.themes import RESIZES, walk


@case(
    groups="size zero discard nightly",
    requires="raw_requests resize",
    limit_s=300,
    basis=("MUST: NBD, NBD_CMD_READ", "POLICY: grown-part-reads-zero"),
)
def test(nbd_io, target, seed, log, not_run):
    walk(RESIZES, target, nbd_io, seed, log, not_run=not_run, within_s=270)

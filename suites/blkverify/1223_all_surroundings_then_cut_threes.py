"""This case checks that flush and FUA hold for any request in any surroundings, over power cuts at
any point, in all threes.

How: as 1213, with all rows. Each pair of classes occurs, and each triple of those dimensions that
matter together.
Guards: eviction-restores-old, fua-lost-in-merge, fua-first-part-only, flush-of-first-part.
"""

from qbdcheck.kit import case
from qbdcheck.kit.covering.themes import CUTS, walk


@case(
    groups="flush crash zero discard nightly",
    requires="raw_requests crash",
    limit_s=300,
    basis=(
        "MUST: NBD, NBD_CMD_FLUSH",
        "MUST: NBD, Command flags",
        "POLICY: sector-writes-are-atomic",
    ),
)
def test(nbd_io, target, seed, log, not_run):
    walk(CUTS, target, nbd_io, seed, log, not_run=not_run, within_s=270)

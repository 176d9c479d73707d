"""This case checks that flush and FUA hold for any request in any surroundings, over power cuts at
any point.

How: the first rows of a covering array: an earlier request, the main one with or without FUA, and a
further one, with a flush of this or another connection, of another volume, a reconnection and one
or two power cuts between them. They have most pairs of classes of two dimensions; the log says how
many. A dozen rows share each power cut. What was flushed must be there, and the rest old or new.
Guards: fua-lost-in-merge, flush-of-first-part.
"""

from qbdcheck.kit import case
from qbdcheck.kit.covering.themes import CUTS, walk


@case(
    groups="flush crash zero discard quick",
    requires="raw_requests sudden_end",
    basis=(
        "MUST: NBD, NBD_CMD_FLUSH",
        "MUST: NBD, Command flags",
        "POLICY: sector-writes-are-atomic",
        "POLICY: answered-writes-outlive-their-connection",
    ),
)
def test(nbd_io, target, seed, log, not_run):
    rows = 150 if "crash" in target.capabilities else 60  # 1216 has more kills
    walk(CUTS, target, nbd_io, seed, log, rows=rows, not_run=not_run)

"""This case checks that what was flushed outlives a kill of the server, and all that was answered
outlives a stop, in all threes.

How: as 1216, with all rows. Each pair of classes occurs, and each triple of those dimensions that
matter together.
Guards: flush-noop, fua-write-ack-early.
"""

from qbdcheck.kit import case
from qbdcheck.kit.covering.themes import RESTARTS, walk


@case(
    groups="flush crash zero discard nightly",
    requires="raw_requests kill",
    limit_s=300,
    basis=(
        "MUST: NBD, NBD_CMD_FLUSH",
        "MUST: NBD, Command flags",
        "POLICY: sector-writes-are-atomic",
    ),
)
def test(nbd_io, target, seed, log, not_run):
    walk(RESTARTS, target, nbd_io, seed, log, not_run=not_run, within_s=270)

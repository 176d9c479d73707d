"""This case checks that what was flushed outlives a kill of the server, and all that was answered
outlives a stop.

How: the first rows of a covering array: an earlier request, the main one and a further one, with
flushes, kills and stops of the server between them. They have most pairs of classes of two
dimensions; the log says how many. Two dozen rows share each restart.
Guards: flush-noop, fua-write-ack-early.
"""

from qbdcheck.kit import case
from qbdcheck.kit.covering.themes import RESTARTS, walk


@case(
    groups="flush crash zero discard quick",
    requires="raw_requests kill",
    basis=(
        "MUST: NBD, NBD_CMD_FLUSH",
        "MUST: NBD, Command flags",
        "POLICY: sector-writes-are-atomic",
    ),
)
def test(nbd_io, target, seed, log, not_run):
    walk(RESTARTS, target, nbd_io, seed, log, rows=150, not_run=not_run)

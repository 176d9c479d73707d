"""This case checks that a request that fails once leaves everything right, before and after it.

How: the first rows of a covering array. In each, an earlier request makes data, zeroes or a hole;
then the storage fails the main request once, or a flush, with one of several errnos. It is repeated
or not; a further request, a flush, a reconnection or a power cut follow. They have most pairs of
classes of two dimensions; the log says how many. A range that failed is old or new; all around is
as it was, and what a successful flush covered is durable.
Guards: flush-error-once, failed-flush-drops-dirty, retry-with-empty-payload,
bad-block-never-cleared, failed-write-aborts-flush.
Related: failed-write-loses-unit.
"""

from qbdcheck.kit import case
from qbdcheck.kit.covering.themes import FAULTS, walk


@case(
    groups="errors inject rw flush crash quick",
    requires="nbd",
    basis=(
        "MUST: NBD, Error values",
        "MUST: NBD, NBD_CMD_FLUSH",
        "POLICY: failed-write-old-or-new",
        "POLICY: failure-is-not-sticky",
    ),
)
def test(nbd_io, target, rules, seed, log, not_run):
    walk(FAULTS, target, nbd_io, seed, log, rows=100, rules=rules, not_run=not_run)

"""This case checks that a request is right whatever was in its range before, and whatever comes
after it, in all threes.

How: as 1210, with all rows. Each pair of classes occurs, and each triple of those dimensions that
matter together.
Guards: deferred-write-overtaken, compressed-part-overwrite, double-discard-frees-twice, zeroes-
merged-over-gap, thin-reuse-shows-others.
"""

from qbdcheck.kit import case
from qbdcheck.kit.covering.themes import RELATED, walk


@case(
    groups="rw zero discard verify nightly",
    limit_s=300,
    basis=("MUST: NBD, NBD_CMD_WRITE", "MUST: NBD, NBD_CMD_READ", "POLICY: discard-old-or-zero"),
)
def test(nbd_io, target, seed, log, not_run):
    walk(RELATED, target, nbd_io, seed, log, not_run=not_run, within_s=270)

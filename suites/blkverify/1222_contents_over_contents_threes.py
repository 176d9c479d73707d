"""This case checks that what a write stores does not depend on what was there, or on what else was
written, in all threes.

How: as 1212, with all rows. Each pair of classes occurs, and each triple of those dimensions that
matter together.
Guards: rmw-edge-cache-stale, dedup-prefix-hash, compressed-block-grows, shared-zero-page-written.
"""

from qbdcheck.kit import case
from qbdcheck.kit.covering.themes import CONTENTS, walk


@case(
    groups="rw zero discard verify nightly",
    limit_s=300,
    basis=("MUST: NBD, NBD_CMD_WRITE", "MUST: NBD, NBD_CMD_READ", "POLICY: discard-old-or-zero"),
)
def test(nbd_io, target, seed, log, not_run):
    walk(CONTENTS, target, nbd_io, seed, log, not_run=not_run, within_s=270)

"""This case checks that requests of all sizes are right at all kinds of offsets, in all threes.

How: as 1211, with all rows. Each pair of classes occurs, and each triple of those dimensions that
matter together.
Guards: vectored-tail-dropped, bounce-size-without-head, offset-32bit-wrap.
"""

from qbdcheck.kit import case
from qbdcheck.kit.covering.themes import SIZES, walk


@case(
    groups="rw zero discard verify nightly",
    limit_s=300,
    basis=("MUST: NBD, NBD_CMD_WRITE", "MUST: NBD, NBD_CMD_READ", "POLICY: discard-old-or-zero"),
)
def test(nbd_io, target, seed, log, not_run):
    walk(SIZES, target, nbd_io, seed, log, not_run=not_run, within_s=270)

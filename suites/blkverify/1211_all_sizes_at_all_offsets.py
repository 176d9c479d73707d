"""This case checks that requests of all sizes are right at all kinds of offsets.

How: the first rows of a covering array: each command with sizes from a byte to 33 MiB, at, before,
behind and across multiples of 4 KiB, 64 KiB, 1 MiB and 4 MiB and powers of two up to 8 GiB, at the
start and at the end. They have most pairs of classes of two dimensions; the log says how many. What
is around is read after each row.
Guards: vectored-tail-dropped, offset-32bit-wrap.
"""

from qbdcheck.kit import case
from qbdcheck.kit.covering.themes import SIZES, walk


@case(
    groups="rw zero discard verify quick",
    basis=("MUST: NBD, NBD_CMD_WRITE", "MUST: NBD, NBD_CMD_READ", "POLICY: discard-old-or-zero"),
)
def test(nbd_io, target, seed, log, not_run):
    walk(SIZES, target, nbd_io, seed, log, rows=200, not_run=not_run)

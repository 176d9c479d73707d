"""This case checks that change tracking calls nothing clean that differs from the newest snapshot,
in all threes.

How: as 1217, with all rows. Each pair of classes occurs, and each triple of those dimensions that
matter together.
Guards: discard-not-tracked, incremental-misses-hole, tracking-lost-on-resize.
"""

from qbdcheck.kit import case
from qbdcheck.kit.covering.themes import TRACKING, walk


@case(
    groups="bitmap snapshot zero discard nightly",
    limit_s=300,
    requires="nbd snapshot_read resize structured",
    basis="POLICY: dirty-bitmap-covers-all-changes",
)
def test(nbd_io, target, seed, log, not_run):
    walk(TRACKING, target, nbd_io, seed, log, not_run=not_run, within_s=270)

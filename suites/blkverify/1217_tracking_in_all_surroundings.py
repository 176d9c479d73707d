"""This case checks that change tracking calls nothing clean that differs from the newest snapshot.

How: the first rows of a covering array: an earlier request, the main one and a further one, with
snapshots of this and of another volume, clones, reads and growth between them. They have most pairs
of classes of two dimensions; the log says how many. What the range of a request holds is compared
with the newest snapshot: what differs must be dirty.
Guards: discard-not-tracked, incremental-misses-hole.
"""

from qbdcheck.kit import case
from qbdcheck.kit.covering.themes import TRACKING, walk


@case(
    groups="bitmap snapshot zero discard quick",
    requires="nbd snapshot_read resize structured",
    basis="POLICY: dirty-bitmap-covers-all-changes",
)
def test(nbd_io, target, seed, log, not_run):
    walk(TRACKING, target, nbd_io, seed, log, rows=80, not_run=not_run)

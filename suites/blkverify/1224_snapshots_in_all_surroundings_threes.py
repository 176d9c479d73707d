"""This case checks that snapshots, clones and volumes stay apart, whatever request changes one of
them, in all threes.

How: as 1214, with all rows. Each pair of classes occurs, and each triple of those dimensions that
matter together.
Guards: zeroes-in-clone-show-parent, snapshot-merge-drops-zeroes, grandchild-reads-grandparent,
discard-exposes-backing.
"""

from qbdcheck.kit import case
from qbdcheck.kit.covering.themes import SNAPSHOTS, walk


@case(
    groups="snapshot zero discard nightly",
    requires="raw_requests snapshot_read snapshot_remove",
    limit_s=300,
    basis=(
        "POLICY: snapshot-is-one-moment",
        "POLICY: clone-is-independent",
        "MUST: NBD, NBD_CMD_READ",
    ),
)
def test(nbd_io, target, seed, log, not_run):
    walk(SNAPSHOTS, target, nbd_io, seed, log, not_run=not_run, within_s=270)

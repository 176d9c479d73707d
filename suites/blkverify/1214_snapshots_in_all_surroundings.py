"""This case checks that snapshots, clones and volumes stay apart, whatever request changes one of
them.

How: the first rows of a covering array: an earlier request, the main one and a further one, with
snapshots, removals of snapshots, clones and clones of clones between them. They have most pairs of
classes of two dimensions; the log says how many. A dozen rows share each snapshot. All volumes,
snapshots and clones are read around each place.
Guards: snapshot-merge-drops-zeroes, grandchild-reads-grandparent, discard-exposes-backing,
refused-snapshot-replaces.
Related: zeroes-in-clone-show-parent.
"""

from qbdcheck.kit import case
from qbdcheck.kit.covering.themes import SNAPSHOTS, walk


@case(
    groups="snapshot zero discard quick",
    requires="raw_requests snapshot_read snapshot_remove",
    basis=(
        "POLICY: snapshot-is-one-moment",
        "POLICY: clone-is-independent",
        "MUST: NBD, NBD_CMD_READ",
    ),
)
def test(nbd_io, target, seed, log, not_run):
    walk(SNAPSHOTS, target, nbd_io, seed, log, rows=130, not_run=not_run)

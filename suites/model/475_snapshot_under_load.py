"""This case checks that a snapshot taken while many clients write shows the volume at one moment.

How: six clients write a volume of which one half holds data and the other is fresh; three snapshots
are taken meanwhile. Each must hold all that was acknowledged before its request and nothing that
was sent after its reply. If it holds a write, it holds all that were acknowledged before that write
was sent.
Guards: snapshot-map-under-io, late-request-after-quiesce.
Related: snapshot-not-point-in-time.
"""

from qbdcheck.kit import case
from qbdcheck.kit.model.concurrent import Plan

PLAN = Plan(size=4 << 20, requests=100, depth=2, lengths=(1, 8, 8, 24), share=1.0)


@case(
    groups="model snapshot concurrent quick",
    requires="raw_requests multi_conn snapshot_read",
    basis="POLICY: snapshot-is-one-moment",
)
def test(new_disk, model):
    disk = new_disk("4M", prefill=False)
    model.record_with_snapshots(disk, 6, PLAN, 0)

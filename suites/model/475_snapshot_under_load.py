"""This case checks that a snapshot taken while many clients write is what was there at one moment.

How: six clients write a volume of which one half holds data and the other is fresh, and three
snapshots are taken meanwhile. Each must hold all that was acknowledged before it was asked for and
nothing that was sent after its answer; and if it holds a write, then all that were acknowledged
before that one was sent.
Guards: snapshot-map-under-io, snapshot-not-point-in-time, late-request-after-quiesce.
"""

from qbdcheck.kit import case
from qbdcheck.kit.model.concurrent import Plan

PLAN = Plan(size=4 << 20, requests=100, depth=2, lengths=(1, 8, 8, 24), share=1.0)


@case(groups="model snapshot concurrent quick", requires="nbd multi_conn snapshot_read")
def test(new_disk, model):
    disk = new_disk("4M", prefill=False)
    model.record_with_snapshots(disk, 6, PLAN, 0)

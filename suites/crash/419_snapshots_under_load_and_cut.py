"""This case checks that snapshots taken under load survive a power cut as they were at one moment.

How: five clients write with FUA while two snapshots are taken; then power fails. Each snapshot must
still show the volume at one moment between its request and its reply. The volume must have all
acknowledged writes.
Guards: snapshot-map-under-io, fua-write-ack-early, late-request-after-quiesce.
Related: snapshot-not-point-in-time, flush-one-child-only.
"""

from qbdcheck.kit import case
from qbdcheck.kit.model.concurrent import Plan
from qbdcheck.kit.server_ends import cut

PLAN = Plan(size=2 << 20, requests=60, depth=2, lengths=(1, 8, 24), share=1.0, fua=1.0)


@case(
    groups="snapshot concurrent crash",
    requires="raw_requests multi_conn snapshot_read sudden_end fua flush",
    basis=("MUST: NBD, Command flags", "POLICY: snapshot-is-one-moment"),
)
def test(new_disk, model, seed):
    disk = new_disk("2M", prefill=False)
    model.record_with_snapshots(disk, 5, PLAN, 0, count=2, then=lambda: cut(disk, int(seed)))

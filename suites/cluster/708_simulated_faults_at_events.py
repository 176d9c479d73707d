"""This case checks that a cluster survives faults that meet a vote, an election or a flush.

How: 60 simulated schedules of all kinds of faults. Groups of faults come within milliseconds of an
event, in half of the schedules in a bad network, and requests come densely at all nodes then. All
reads are judged, all replicas compared, and each kind of fault must have happened.
Guards: stale-replica-after-failover, flush-one-child-only.
"""

from qbdcheck.kit import case
from qbdcheck.kit.cluster.hunt import hunt, must_be_simulated
from qbdcheck.kit.cluster.schedule import FAULTS


@case(groups="cluster self", basis="MUST: qbdcheck, docs/cluster.md")
def test(target, seed, log):
    must_be_simulated(target.description)
    found = hunt(range(seed, seed + 60), at_events=True)
    log(found)
    found.must_be_right()
    silent = [kind for kind in (*FAULTS, "election") if not found.happened[kind]]
    assert not silent, f"these faults never happened: {silent}"

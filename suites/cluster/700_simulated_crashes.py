"""This case checks that a cluster keeps its data when nodes die, lose power or lose a store.

How: 40 simulated schedules with faults of these kinds, with requests in bursts near them. All reads
are judged, all replicas compared, and each kind of fault must have happened.
Guards: torn-write, stale-replica-after-failover, flush-one-child-only.
"""

from qbdcheck.kit import case
from qbdcheck.kit.cluster.hunt import hunt, must_be_simulated

FAULTS = ("kill", "cut", "room", "wipe")


@case(groups="cluster self", basis="MUST: qbdcheck, docs/cluster.md")
def test(target, seed, log):
    must_be_simulated(target.description)
    found = hunt(range(seed, seed + 40), faults=FAULTS)
    log(found)
    found.must_be_right()
    silent = [kind for kind in (*FAULTS, "lost", "torn", "election") if not found.happened[kind]]
    assert not silent, f"these faults never happened: {silent}"

"""This case checks that a cluster never has two leaders whose answers count, however it is divided.

How: 40 simulated schedules with faults of these kinds, with requests in bursts near them. All reads
are judged, all replicas compared, and each kind of fault must have happened.
Guards: stale-replica-after-failover.
"""

from qbdcheck.kit import case
from qbdcheck.kit.cluster.hunt import hunt, must_be_simulated

FAULTS = ("partition", "one way", "bridge", "pause")


@case(groups="cluster self", basis="MUST: qbdcheck, docs/cluster.md")
def test(target, seed, log):
    must_be_simulated(target.description)
    found = hunt(range(seed, seed + 40), faults=FAULTS)
    log(found)
    found.must_be_right()
    silent = [kind for kind in (*FAULTS, "dropped", "election") if not found.happened[kind]]
    assert not silent, f"these faults never happened: {silent}"

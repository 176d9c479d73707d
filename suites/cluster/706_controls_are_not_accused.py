"""This case checks that clusters that are slow or unusual, but right, are not accused.

How: late elections, a leader without followers that refuses writes at once, and a resync of all
granules run simulated schedules with all kinds of faults.
Guards: stale-replica-after-failover.
"""

from qbdcheck.kit import case
from qbdcheck.kit.cluster.hunt import catalogue, hunt, must_be_simulated


@case(groups="cluster self", basis="MUST: qbdcheck, docs/cluster.md")
def test(target, seed, log):
    must_be_simulated(target.description)
    controls = [one.name for one in catalogue().values() if one.is_control]
    assert len(controls) == 3, f"the controls are {controls}"
    for name in controls:
        found = hunt(range(seed, seed + 20), name)
        log(name, found)
        found.must_be_right(name)

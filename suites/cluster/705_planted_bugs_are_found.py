"""This case checks that the simulation finds bugs of a cluster, and names the damage of each.

How: each mutant runs the schedule that is known to show it. The findings must have a kind of damage
that the mutant lists, and the right cluster must pass the same schedule.
Guards: stale-replica-after-failover, flush-one-child-only, torn-write.
"""

from qbdcheck.kit import case
from qbdcheck.kit.cluster.hunt import catalogue, hunt, must_be_simulated


@case(groups="cluster self", basis="MUST: qbdcheck, docs/cluster.md")
def test(target, log):
    must_be_simulated(target.description)
    mutants = [one for one in catalogue().values() if one.seed is not None]
    assert len(mutants) >= 12, f"only {len(mutants)} planted bugs have a seed"
    for mutant in mutants:
        found = hunt([mutant.seed], mutant.name, mutant.faults, mutant.at_events)
        log(mutant.name, found)
        assert found.failing is not None, f"{mutant.name} is not found"
        named = found.words & mutant.shows
        assert named, f"{mutant.name} is not named: {found.findings}"
        right = hunt([mutant.seed], "", mutant.faults, mutant.at_events)
        right.must_be_right(f"{mutant.name}: the right cluster fails")

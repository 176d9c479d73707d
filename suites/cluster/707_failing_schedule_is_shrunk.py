"""This case checks that a failing schedule is repeated exactly, and shrunk to what it needs.

How: a mutant whose followers vote as if they had lost nothing fails. The schedule is shrunk, sent
through JSON and run again: the findings are equal, and no step can be left out.
Guards: stale-replica-after-failover.
"""

from qbdcheck.kit import case
from qbdcheck.kit.cluster.hunt import build_of, catalogue, hunt, must_be_simulated, smallest
from qbdcheck.kit.cluster.schedule import Schedule
from qbdcheck.kit.cluster.simulation import simulate

MUTANT = "drops-in-flight"


@case(groups="cluster self", basis="MUST: qbdcheck, docs/cluster.md")
def test(target, log):
    must_be_simulated(target.description)
    mutant = catalogue()[MUTANT]
    found = hunt([mutant.seed], MUTANT, mutant.faults)
    small = smallest(found, MUTANT)
    log(small)
    assert len(small.failing.steps) < len(found.failing.steps) / 3, f"{small}"
    again = simulate(Schedule.from_json(small.failing.to_json()), build_of(MUTANT))
    assert again.findings == small.findings, f"the schedule read back finds {again.findings}"
    assert again.trace == small.trace, f"the schedule read back does {again.trace}"
    for place in range(len(small.failing.steps)):
        steps = small.failing.steps[:place] + small.failing.steps[place + 1 :]
        rest = simulate(Schedule(small.failing.seed, steps), build_of(MUTANT))
        kinds = {one.damage for one in rest.findings}
        assert not kinds & found.damages, f"step {place} is not needed: {small}"

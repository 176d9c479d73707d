"""This case checks that a failing workload shrinks to the few requests that the fault needs.

How: the target loses zeroes that follow a flush; of 120 requests the flush and one write-zeroes are
left, found on the target itself, put back to the same start for each trial.
Guards: write-zeroes-noop.
"""

from oracles.shrinking import shrink
from qbdcheck.kit import case

RULES = """
states: [{event: flush_to_disk, state: 1, new_state: 2}]
rules: [{event: pwritev_zero, iotype: write-zeroes, action: drop, state: 2}]
"""


@case(groups="verify self")
def test(new_disk, dual_write, seed):
    pair = dual_write(new_disk("64K"), rules=RULES, status=False)
    weights = {"read": 3, "write": 5, "zero": 2, "flush": 1}
    batches = pair.workload(seed.stream("workload"), 120, weights=weights, depth=4, longest=4096)
    shortest = shrink(batches, pair.fails, trials=150)
    kinds = [request.kind for batch in shortest for request in batch]
    assert kinds == ["flush", "zero"], kinds

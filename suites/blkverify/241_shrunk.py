"""This case checks that a failing workload shrinks to the few requests that the fault needs.

How: a volume in memory loses zeroes that follow a flush. Of 123 requests the flush and one
WRITE_ZEROES must remain. Each trial starts from the same contents.
Related: write-zeroes-noop.
"""

from oracles.shrinking import shrink
from oracles.workload import Kind, Request
from qbdcheck.kit import case

RULES = """
states: [{event: flush_to_disk, state: 1, new_state: 2}]
rules: [{event: pwritev_zero, iotype: write-zeroes, action: drop, state: 2}]
"""


@case(groups="verify self", basis="MUST: qbdcheck, docs/kit.md")
def test(dual_write, seed):
    pair = dual_write.in_memory("64K", rules=RULES)
    weights = {"read": 3, "write": 5, "zero": 2, "flush": 1}
    batches = pair.workload(seed.stream("workload"), 120, weights=weights, depth=4, longest=4096)
    batches += [(Request(121, Kind.FLUSH),), (Request(122, Kind.WRITE, 0, 512),)]
    batches += [(Request(123, Kind.ZERO, 0, 512),)]
    shortest = shrink(batches, pair.fails, trials=300)
    left = [request for batch in shortest for request in batch]
    kinds = [str(request.kind) for request in left]
    text = ", ".join(map(str, left))
    assert kinds == ["flush", "zero"], f"expected a flush and a write zeroes, left are: {text}"

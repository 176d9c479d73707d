"""This case checks that a recorded workload finds the same fault again on another disk.

How: 150 requests, 8 in flight, over a target that loses the writes of one region, in whatever
order they come; the record is loaded and asked of a fresh disk with the same fault: the same
mismatches, to the byte.
Guards: phantom-write.
"""

from oracles.workload import load
from qbdcheck.kit import case

RULES = "rules: [{event: write_aio, iotype: write, action: drop, offset: 256K+128K}]"


@case(groups="verify self")
def test(new_disk, dual_write, seed, scratch):
    first = dual_write(new_disk("1M"), rules=RULES)
    first.run(first.workload(seed.stream("workload"), 150, depth=8))
    first.verify()
    assert first.mismatches

    batches, size = load((scratch / "disk.workload.1.jsonl").read_text())
    assert sum(map(len, batches)) == 150
    assert size == 1 << 20
    again = dual_write(new_disk(size), rules=RULES)
    again.run(batches)
    again.verify()
    assert told(first) == told(again)


def told(pair):
    """What is said of each mismatch, without the stamps' owner, which is the disk."""
    return [(one.offset, one.length, one.text, one.last_write) for one in pair.mismatches]

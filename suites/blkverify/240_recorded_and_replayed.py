"""This case checks that a recorded workload finds the same fault again when it is replayed.

How: 150 requests, 8 in flight, on a volume in memory that loses the writes of one region; one write
there is certain. The record is loaded and run on a second such volume: it must give the same
mismatches, to the byte.
Related: phantom-write.
"""

from oracles.workload import Kind, Request, load
from qbdcheck.kit import case

RULES = "rules: [{event: write_aio, iotype: write, action: drop, offset: 256K+128K}]"
LOST = Request(151, Kind.WRITE, 300 << 10, 8192)


@case(groups="verify self", basis="MUST: qbdcheck, docs/kit.md")
def test(dual_write, seed, scratch):
    first = dual_write.in_memory("1M", rules=RULES)
    first.run([*first.workload(seed.stream("workload"), 150, depth=8), (LOST,)])
    first.verify()
    assert first.mismatches, "the write #151, which was lost, was not found"

    (record,) = scratch.glob("*.workload.1.jsonl")
    batches, size = load(record.read_text())
    count = sum(map(len, batches))
    assert (count, size) == (151, 1 << 20), f"the record has {count} requests for {size} bytes"
    again = dual_write.in_memory(size, rules=RULES)
    again.run(batches)
    again.verify()
    texts = [[str(one) for one in pair.mismatches] for pair in (first, again)]
    assert texts[0] == texts[1], "\n".join(["recorded:", *texts[0], "replayed:", *texts[1]])

"""This case checks that lost writes are found, each at its place, with the missing write.

How: of 20 writes the target acknowledges the 5th to 7th without doing them. The report names what
is there instead: the prefill, or an older write.
Guards: phantom-write.
Related: stale-replica-after-failover.
"""

from qbdcheck.kit import case

RULES = "rules: [{event: write_aio, iotype: write, action: drop, after: 4, count: 3}]"


@case(groups="verify rw quick", basis="MUST: qbdcheck, docs/kit.md")
def test(new_disk, dual_write, golden):
    pair = dual_write(new_disk("1M"), rules=RULES)
    for number in range(20):
        # The 6th and the 7th write go where the 1st and the 2nd went.
        pair.ask("write", (number - 5 if number in (5, 6) else number) * 8192, 4096)
    for mismatch in pair.verify():
        golden(mismatch.side, mismatch.damage, mismatch.sector, mismatch.length)
        golden("   ", mismatch.last_write)

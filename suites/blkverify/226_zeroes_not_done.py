"""This case checks that zeroes that were acknowledged and not written are found.

How: one of ten WRITE_ZEROES does nothing. QEMU's blkverify does not support write-zeroes.
Guards: write-zeroes-noop.
Related: zero-unmap-not-durable.
"""

from qbdcheck.kit import case

RULES = "rules: [{event: pwritev_zero, iotype: write-zeroes, action: drop, after: 6, count: 1}]"


@case(groups="verify zero quick", basis="MUST: qbdcheck, docs/kit.md")
def test(new_disk, dual_write):
    pair = dual_write(new_disk("1M"), rules=RULES)
    for number in range(10):
        pair.ask("zero", number * 65536 + 4096, 12_288)
    found = pair.verify()
    text = "\n".join(map(str, found))
    assert {mismatch.side for mismatch in found} == {"target"}, f"the target is to blame:\n{text}"
    writes = {mismatch.last_write for mismatch in found}
    assert writes == {"#7 write zeroes 397312+12288"}, f"expected zeroes #7, seen {writes}"
    start, end = found[0].offset, found[-1].offset + found[-1].length
    assert (start, end) == (397_312, 409_600), f"damage from {start} to {end}:\n{text}"

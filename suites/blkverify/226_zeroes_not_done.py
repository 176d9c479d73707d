"""This case checks that zeroes that were acknowledged and not made are found.

How: one of ten write-zeroes does nothing; QEMU's blkverify cannot be asked for zeroes at all.
Guards: write-zeroes-noop, zero-unmap-not-durable.
"""

from qbdcheck.kit import case

RULES = "rules: [{event: pwritev_zero, iotype: write-zeroes, action: drop, after: 6, count: 1}]"


@case(groups="verify zero quick")
def test(new_disk, dual_write):
    pair = dual_write(new_disk("1M"), rules=RULES)
    for number in range(10):
        pair.ask("zero", number * 65536 + 100, 10_000)
    found = pair.verify()
    assert {mismatch.side for mismatch in found} == {"target"}, found
    assert {mismatch.last_write for mismatch in found} == {"#7 write zeroes 393316+10000"}, found
    wrong = [(mismatch.offset, mismatch.length) for mismatch in found]
    assert wrong[0][0] == 6 * 65536, found
    assert wrong[-1][0] + wrong[-1][1] == 6 * 65536 + 10_240, found

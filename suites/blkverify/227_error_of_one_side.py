"""This case checks that a request that fails on one side only is reported, and nothing after it.

How: a write gets ENOSPC on the target and succeeds on the reference: one mismatch; what is at its
place is old or new, so no contents are accused; the next writes are compared as ever.
Guards: async-error-ignored, errno-collapsed, transient-becomes-fatal.
"""

from qbdcheck.kit import case

RULES = "rules: [{event: write_aio, iotype: write, errno: ENOSPC, after: 5, count: 1}]"


@case(groups="verify errors quick")
def test(new_disk, dual_write, golden):
    pair = dual_write(new_disk("1M"), rules=RULES)
    for number in range(12):
        pair.ask("write", number * 4096, 4096)
    pair.ask("write", 5 * 4096 + 512, 512)
    pair.verify()
    for mismatch in pair.mismatches:
        golden(mismatch)

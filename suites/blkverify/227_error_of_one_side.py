"""This case checks that an error of one side alone is reported, and nothing after it.

How: a write gets ENOSPC on the target and succeeds on the reference: one mismatch. Its place is old
or new, so no contents are reported. The next writes are compared as before.
Related: async-error-ignored, errno-collapsed, transient-becomes-fatal.
"""

from qbdcheck.kit import case

RULES = "rules: [{event: write_aio, iotype: write, errno: ENOSPC, after: 5, count: 1}]"


@case(groups="verify errors quick", basis="MUST: qbdcheck, docs/kit.md")
def test(new_disk, dual_write, golden):
    pair = dual_write(new_disk("1M"), rules=RULES)
    for number in range(12):
        pair.ask("write", number * 8192, 8192)
    pair.ask("write", 5 * 8192 + 4096, 4096)
    pair.verify()
    for mismatch in pair.mismatches:
        golden(mismatch)

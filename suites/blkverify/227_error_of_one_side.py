"""This case checks that an error of one side alone is reported, and nothing after it.

How: a write gets ENOSPC on the target and succeeds on the reference: one mismatch. Its place is old
or new, so no contents are reported. The next writes are compared as before.
Guards: async-error-ignored, errno-collapsed, transient-becomes-fatal.
"""

from qbdcheck.kit import case

RULES = "rules: [{event: write_aio, iotype: write, errno: ENOSPC, after: 5, count: 1}]"


@case(groups="verify errors quick", basis="MUST: qbdcheck, docs/kit.md")
def test(new_disk, dual_write, target, golden):
    unit = max(4096, target.minimum_block)
    pair = dual_write(new_disk(256 * unit), rules=RULES)
    for number in range(12):
        pair.ask("write", number * 2 * unit, 2 * unit)
    pair.ask("write", 11 * unit, unit)
    pair.verify()
    for mismatch in pair.mismatches:
        golden(in_blocks_of_4096(str(mismatch), unit))


def in_blocks_of_4096(text, unit):
    """Return a mismatch of the 6th write as if the unit of the case were 4096 bytes."""
    at, length = 10 * unit, 2 * unit
    text = text.replace(f" {at}+{length}", " 40960+8192")
    return text.replace(
        f"{at} (sector {at // 512}), {length} bytes", "40960 (sector 80), 8192 bytes"
    )
